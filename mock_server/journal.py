"""What the server has been asked and what it said, in order of arrival, for tests to look at."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mock_server.tokens import Message


@dataclass(slots=True)
class Exchange:
    """One completion request. It is in the journal from its arrival; status and texts come with the answer."""

    path: str
    request_id: str | None = None
    messages: list[Message] = field(default_factory=list)
    """Role and content; empty when the request was refused before its messages were read."""
    status: int | None = None
    """HTTP status; None while it waits, and for ever if the client gave up."""
    texts: list[str] = field(default_factory=list)
    """What was said, one text a choice."""
    finish_reasons: list[str] = field(default_factory=list)
    """How each choice ended: stop, length, abort, or dropped when the client had gone."""

    @property
    def text(self) -> str:
        """What the first choice said."""
        return self.texts[0] if self.texts else ""


class Journal:
    """The latest exchanges, at most `size` of them."""

    def __init__(self, size: int = 10_000) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=size)

    def open(self, path: str) -> Exchange:
        """A new exchange, to be filled in as it goes on."""
        exchange = Exchange(path)
        self._exchanges.append(exchange)
        return exchange

    @property
    def exchanges(self) -> list[Exchange]:
        """All exchanges that are kept, oldest first."""
        return list(self._exchanges)
