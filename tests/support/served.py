"""Any ASGI app on a free port of the loopback, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette

from mock_server.server import HttpServer, bind


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serve an app; the value is its URL."""
    listener = bind("127.0.0.1", 0)
    server = HttpServer(app)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert server.ready.wait(30)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
