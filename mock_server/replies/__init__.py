"""What goes over the wire: bodies, errors and event streams."""
