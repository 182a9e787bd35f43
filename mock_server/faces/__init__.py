"""The endpoints, by whose they are. Thin: they read, ask the engine, and write."""
