"""uvicorn on a socket of our own, and what every request passes before its endpoint."""
