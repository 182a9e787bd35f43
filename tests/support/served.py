"""Any ASGI app on a free port of the loopback, in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette

from mock_server.serving.http_server import HttpServer
from mock_server.serving.threaded import ThreadedServer


class _Served(ThreadedServer):
    def __init__(self, app: Starlette) -> None:
        super().__init__()
        self._app = app

    def make(self) -> HttpServer:
        return HttpServer(self._app)


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serve an app; the value is its URL."""
    with _Served(app) as server:
        yield server.base_url
