"""A request, read and checked as vLLM does, and what it binds the answer to."""
