"""The drill of the offload: many processes score while workers and the server are killed, and nothing may be lost."""
