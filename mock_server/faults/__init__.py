"""What goes wrong: which fault befalls a call, and what it does to the reply and at the socket."""
