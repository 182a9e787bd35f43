"""Models small enough to be trained from scratch while one waits, on a domain small enough to know all of it.

`domain` is what they are about, and free of torch; `tokens` and `models` are what they are made of; `judge` and
`policy` train them; `shelf` has them, and `cache` keeps them. `python -m tiny --help`.
"""
