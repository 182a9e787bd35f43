"""The script that a mock answers by: its schema, its files, what is wrong with it, and which one is in force."""
