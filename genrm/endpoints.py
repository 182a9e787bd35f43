"""Which of several base URLs is asked next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

# A URL that just failed is left alone for so many seconds times its failures in a row. Without that, a dead server,
# which answers fastest of all and so has nothing in flight, would draw every request.
_COOL_DOWN = 1.0
_LONGEST_COOL_DOWN = 30.0


@dataclass
class Endpoint:
    """One base URL and how it is doing."""

    url: str
    in_flight: int = 0
    failures: int = 0
    avoided_until: float = 0.0


class Endpoints:
    """Gives each request to the URL with the fewest in flight, and avoids those that failed lately.

    Args:
        urls: the base URLs; the earlier wins where all else is equal.
        clock: seconds, monotonic.
    """

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoints = [Endpoint(url) for url in urls]
        self._clock = clock

    @contextmanager
    def use(self) -> Iterator[Endpoint]:
        """The endpoint for one request, counted as in flight meanwhile."""
        now = self._clock()
        endpoint = min(self._endpoints, key=lambda each: (max(0.0, each.avoided_until - now), each.in_flight))
        endpoint.in_flight += 1
        try:
            yield endpoint
        finally:
            endpoint.in_flight -= 1

    def succeeded(self, endpoint: Endpoint) -> None:
        """The endpoint gave a reply."""
        endpoint.failures, endpoint.avoided_until = 0, 0.0

    def failed(self, endpoint: Endpoint) -> None:
        """The endpoint gave none, and another might."""
        endpoint.failures += 1
        pause = min(_COOL_DOWN * endpoint.failures, _LONGEST_COOL_DOWN)
        endpoint.avoided_until = self._clock() + pause
