"""How many HTTP requests there were, and how long they took: what /metrics says besides the engine's numbers.

As on the real server the endpoints that only look (/health, /metrics, ...) are left out, and paths that nobody serves
share one handler, "none".
"""

from __future__ import annotations

from mock_server.engine.stats import Histogram

UNCOUNTED = ("/metrics", "/health", "/load", "/ping", "/version", "/server_info")
DURATION = (0.1, 0.5, 1)


class Traffic:
    """The requests to one server so far."""

    def __init__(self) -> None:
        self.handlers: frozenset[str] = frozenset()
        self.requests: dict[tuple[str, str, str], int] = {}
        """Number by (method, status class, handler)."""
        self.durations: dict[tuple[str, str], Histogram] = {}
        """Seconds by (handler, method)."""

    def add(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        handler = path if path in self.handlers else "none"
        if handler in UNCOUNTED:
            return
        key = (method, f"{status // 100}xx", handler)
        self.requests[key] = self.requests.get(key, 0) + 1
        histogram = self.durations.get((handler, method))
        if histogram is None:
            histogram = self.durations[handler, method] = Histogram(DURATION)
        histogram.observe(seconds)
