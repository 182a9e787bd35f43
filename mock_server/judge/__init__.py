"""What the mock judge says, and how it knows whether a solution is right. Free of HTTP."""
