"""A server in a thread of this process, on a free port of the loopback."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from typing_extensions import Self

from mock_server.serving.http_server import HttpServer, bind

START_SECONDS = 10
STOP_SECONDS = 10


class ThreadedServer(ABC):
    """A context manager around an `HttpServer`, which `make` gives. Several may run at once."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._server: HttpServer | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def make(self) -> HttpServer:
        """The server to be run; called at each start."""

    @property
    def base_url(self) -> str:
        """Where it listens, without /v1."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> Self:
        """Listen. Raises OSError when the port is in use, RuntimeError when the server does not come up."""
        listener = bind(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._server = self.make()
        name = f"mock-server-{self.port}"
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name=name, daemon=True)
        self._thread.start()
        if not self._server.ready.wait(START_SECONDS):  # pragma: no cover - a machine that has come to a halt
            self.stop()
            raise RuntimeError(f"{name} did not start within {START_SECONDS} s")
        return self

    def stop(self) -> None:
        """Stop listening and hang up on everybody. Stopping twice does no harm."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
