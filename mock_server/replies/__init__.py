"""What goes over the wire: bodies and event streams."""
