"""What the server has been asked and what it said, in order of arrival, for tests to look at."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mock_server.engine.machine import Snapshot
from mock_server.judge.answers import Answer
from mock_server.tokens import Message


@dataclass(slots=True)
class Exchange:
    """One request. It is in the journal from its arrival; status and texts come with the answer."""

    path: str
    request_id: str | None = None
    messages: list[Message] = field(default_factory=list)
    """Role and content; empty when the request was refused before its messages were read."""
    status: int | None = None
    """HTTP status; None while it waits, and for ever if the client gave up or no status was sent."""
    texts: list[str] = field(default_factory=list)
    """What was said, one text a choice. Before any fault changed it."""
    finish_reasons: list[str] = field(default_factory=list)
    """How each choice ended: stop, length, abort, error (the engine died), or dropped when the client had gone."""
    method: str = "POST"
    query: str = ""
    scope: str = ""
    """The X-Mock-Scope header."""
    number: int = 0
    """From 1, in order of arrival; never given twice."""
    body: dict[str, Any] | None = None
    """A completion request's JSON; None for what is none."""
    answers: list[Answer] = field(default_factory=list)
    """What the judge had in mind for each choice, and why."""
    faults: tuple[dict[str, Any], ...] = ()
    """The entries of the fault plan that fired, in order: number, kind, number of the call, why."""
    state: Snapshot | None = None
    """The engine when the request arrived."""
    arrived: float = 0.0
    """Seconds since 1970."""
    seconds: float | None = None
    """From the arrival to the end of the answer; None while it goes on."""
    completion: bool = True
    """Whether it asked for a completion."""

    @property
    def text(self) -> str:
        """What the first choice said."""
        return self.texts[0] if self.texts else ""

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "scope": self.scope,
            "request_id": self.request_id,
            "body": self.body,
            "status": self.status,
            "texts": self.texts,
            "finish_reasons": self.finish_reasons,
            "answers": [
                {"shape": answer.shape, "verdict": answer.verdict, "truth": answer.truth} for answer in self.answers
            ],
            "faults": list(self.faults),
            "state": self.state._asdict() if self.state else None,
            "arrived": self.arrived,
            "seconds": self.seconds,
        }


class Journal:
    """The latest exchanges, at most `size` of them; and how many there were in all.

    With a `path`, each is also appended to that file when it has ended, as a line of JSON: it outlives the server.
    """

    def __init__(self, size: int = 10_000, path: Path | None = None) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=size)
        self._count = 0
        # Unbuffered: what has ended is in the file, even if the server is killed.
        self._file = path.open("ab", buffering=0) if path else None

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange, to be filled in as it goes on."""
        self._count += 1
        exchange.number = self._count
        exchange.arrived = time.time()
        self._exchanges.append(exchange)

    def end(self, exchange: Exchange, seconds: float) -> None:
        """An exchange has ended, after so many seconds."""
        exchange.seconds = seconds
        if self._file and exchange.number:
            self._file.write(orjson.dumps(exchange.as_json()) + b"\n")

    def clear(self, scope: str | None = None) -> None:
        """Forget: one scope, or all (None). Numbers go on."""
        kept = [] if scope is None else [exchange for exchange in self.all if exchange.scope != scope]
        self._exchanges = deque(kept, self._exchanges.maxlen)

    def select(self, scope: str | None = None, path: str | None = None, after: int = 0) -> list[Exchange]:
        """What is kept, oldest first: of one scope, to one path, numbered above `after`."""
        return [
            exchange
            for exchange in self.all
            if exchange.number > after
            and (scope is None or exchange.scope == scope)
            and (path is None or exchange.path == path)
        ]

    @property
    def all(self) -> list[Exchange]:
        """Every exchange that is kept, oldest first."""
        return list(self._exchanges)

    @property
    def exchanges(self) -> list[Exchange]:
        """The completion requests that are kept, oldest first."""
        return [exchange for exchange in self.all if exchange.completion]
