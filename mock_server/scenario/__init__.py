"""The script that a mock answers by: what it may say, and how it is read from files."""
