"""What makes a mock server the server of one kind: its engine, its endpoints, and how it refuses and dies.

A profile's name begins with its kind; `server.py` makes the face of that kind and knows nothing else about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mock_server.engine.machine import Engine
from mock_server.faults.schema import EngineDeath
from mock_server.replies.refusals import ErrorShape

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Request, Exception], Awaitable[Response]]
Kill = Callable[[EngineDeath], None]
"""Lets the engine die; in the server's own thread only."""


class Face(Protocol):
    """One kind of server, in one version."""

    errors: ErrorShape
    """How it words an error that a fault makes up."""
    last_words_s: float
    """Seconds that it has for telling its clients that the engine has died; then it hangs up."""

    @property
    def engine(self) -> Engine:
        """What runs and sleeps."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What /_mock/state says of the engine besides what is true of any."""

    @property
    def routes(self) -> Sequence[Route]:
        """Its endpoints."""

    @property
    def handlers(self) -> Mapping[Any, Handler]:
        """What answers an exception that an endpoint raises."""

    def gates(self, paths: frozenset[str]) -> Sequence[Middleware]:
        """What a request passes before anything else, the outermost first. `paths`: all that the server serves."""


def route(path: str, endpoint: Endpoint, *methods: str) -> Route:
    """A route that takes these methods and no others; without methods, all of them."""
    made = Route(path, endpoint, methods=list(methods))
    # Starlette adds HEAD to every GET; the real servers answer it with 405.
    made.methods = set(methods)
    return made
