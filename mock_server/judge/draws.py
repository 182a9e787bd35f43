"""Chance without a random generator: every draw is a hash of what was asked and what is drawn.

So an answer does not depend on the order of requests, on concurrency, on the process, on the Python version or on
PYTHONHASHSEED; and because every purpose has its own draw, a purpose added later changes none of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from mock_server.tokens import Message

T = TypeVar("T")


class Draws:
    """The independent draws that belong to one choice of one request."""

    __slots__ = ("_key",)

    def __init__(self, seed: int, messages: Sequence[Message], salt: str = "") -> None:
        digest = hashlib.blake2b(digest_size=32)
        for part in (str(seed), salt, *(text for message in messages for text in message)):
            data = part.encode(errors="surrogatepass")
            # The length first, else ("ab", "c") and ("a", "bc") would be the same request.
            digest.update(b"%d:" % len(data))
            digest.update(data)
        self._key = digest.digest()

    def uniform(self, purpose: str) -> float:
        """A number in [0, 1), always the same for the same request and purpose."""
        digest = hashlib.blake2b(purpose.encode(), key=self._key, digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / (1 << 53)

    def pick(self, purpose: str, options: Sequence[T]) -> T:
        """One of `options`, all equally likely."""
        return options[int(self.uniform(purpose) * len(options))]

    def integer(self, purpose: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.uniform(purpose) * (high - low + 1))
