"""Counts what goes wrong, and says when to speak of it: loud at first, then at each tenfold.

A broken judge is seen, and does not flood the log.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable


class Tally:
    """How often each thing has happened. Any thread may add."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def add(self, what: Hashable) -> int:
        """Count it. Returns how often it has happened where that is to be told (1, 10, 100...), else 0."""
        with self._lock:
            self._counts[what] += 1
            count = self._counts[what]
        return count if str(count).strip("0") == "1" else 0
