"""uvicorn on a socket of our own, with what it does not do by itself: stop at once, die, and come back."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from mock_server.engine.gpu import OutOfMemory
from mock_server.engine.machine import Engine

_BACKLOG = 2048


class KeepsTransport:
    """A part of a protocol: puts the transport into the state of each request; faults need it (faults/acts.py)."""

    app_state: dict[str, Any]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)  # type: ignore[misc] # it is mixed into uvicorn's


class HttpProtocol(KeepsTransport, AutoHTTPProtocol):  # type: ignore[misc, valid-type] # chosen at run time: httptools or h11
    """uvicorn's HTTP."""


class HttpServer(uvicorn.Server):
    """uvicorn on a socket that is already bound. It stops at once, whoever still waits for an answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.ready = threading.Event()
        config = uvicorn.Config(
            app,
            http=HttpProtocol,
            ws="none",
            lifespan="on",
            log_config=None,  # logging belongs to the caller; without any, errors go to stderr
            log_level="error",
            access_log=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End. Clients see their connections close, as when a real server is killed."""
        self._hang_up()
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            # A request that hangs in a sleeping engine would hold the shutdown up for ever.
            connection.transport.close()


class Mortal(Protocol):
    """What is served and may die: its app, its engine, how long it then has for its clients, and whom it tells."""

    app: Starlette
    engine: Engine
    last_words_s: float
    on_death: Callable[[float | None], None] | None


class MortalServer(HttpServer):
    """A server whose engine may die: then it refuses connections, for a time or for good."""

    def __init__(self, mock: Mortal) -> None:
        super().__init__(mock.app)
        self._mock = mock
        self._address: tuple[str, int] = ("", 0)
        self._death: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self._address = self.servers[0].sockets[0].getsockname()[:2]
        self._mock.on_death = self._die

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, also where it is dead."""
        if self._death:
            self._death.cancel()
            # Or somebody had taken the port, or so much of the GPU that it could not come back.
            with suppress(asyncio.CancelledError, OSError, OutOfMemory):
                await self._death
        await super().shutdown(sockets)

    def _die(self, restart_after: float | None) -> None:
        if self._death and not self._death.done():
            return  # already dead
        # From here on connections are refused, not only once the clients in flight have been told.
        for server in self.servers:
            server.close()
        self._death = asyncio.create_task(self._be_dead(restart_after))

    async def _be_dead(self, restart_after: float | None) -> None:
        loop = asyncio.get_running_loop()
        # Bound and not listening: connections are refused, and nobody else takes the port meanwhile.
        with bound(*self._address) as place:
            # Whoever still waits after the last words is hung up on.
            if self.server_state.tasks and self._mock.last_words_s:
                await asyncio.wait(set(self.server_state.tasks), timeout=self._mock.last_words_s)
            self._hang_up()
            await (asyncio.Event().wait() if restart_after is None else asyncio.sleep(restart_after))
            self._mock.engine.restart()
            server = await loop.create_server(self._protocol, sock=place.dup(), backlog=_BACKLOG, start_serving=False)
        # Known before it serves: whoever ends this task meanwhile finds it, to close it.
        self.servers = [server]
        await server.start_serving()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def bound(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet; port 0 takes a free one. Raises OSError when the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: asyncio turns Nagle off only where it says TCP, and an answer is two writes (40 ms apart).
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, port))
    except OSError:
        place.close()
        raise
    return place


def bind(host: str, port: int) -> socket.socket:
    """A bound, listening socket, as `bound`."""
    listener = bound(host, port)
    try:
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
