"""What runs, what waits and what sleeps; and what is counted of it. Free of HTTP."""
