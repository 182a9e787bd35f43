"""httpx over aiohttp's connections, mended.

httpx's own pool scans all connections for every request: 9 ms of CPU a request at 512 in flight, where aiohttp takes
0.4. httpx-aiohttp joins the two, but calls a connection that closed before the headers, or a name that does not
resolve, a *connect timeout*, and lets aiohttp's own exceptions out. And a pooled connection that the server closed
while it was idle (vLLM does so after 5 s) fails the next POST, because aiohttp resends only idempotent methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

# Below vLLM's and uvicorn's 5 s, so that most idle connections are closed from this side.
KEEPALIVE_SECONDS = 4.0
# How many stale connections in a row one request may meet; then it fails like any other.
MAX_RESENDS = 3

_reused: ContextVar[list[bool]] = ContextVar("genrm_connection_reused")

_MENDED: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (asyncio.TimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
)


@contextmanager
def _mended() -> Iterator[None]:
    """Let the httpx exception out that says what aiohttp's said."""
    try:
        yield
    except (aiohttp.ClientError, asyncio.TimeoutError, httpx.TransportError) as error:
        original = error.__cause__ if isinstance(error, httpx.TransportError) else error
        for foreign, ours in _MENDED:
            if isinstance(original, foreign):
                raise ours(str(original) or type(original).__name__) from original
        raise


class _MendedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mended():
            async for chunk in self._stream:
                yield chunk

    async def aclose(self) -> None:
        with _mended():
            await self._stream.aclose()


class MendedTransport(AiohttpTransport):
    """Sends requests over one aiohttp session, which it makes on first use in the running loop.

    Args:
        trust_env: whether the environment's proxies are used.
    """

    def __init__(self, *, trust_env: bool = False) -> None:
        # `verify` is not used, as the session is ours; False only spares loading certificates twice.
        super().__init__(verify=False, client=lambda: _new_session(trust_env))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; again where it met a connection that the server had closed while idle."""
        for _ in range(MAX_RESENDS):
            reused = [False]
            _reused.set(reused)
            try:
                return await self._send(request)
            except (httpx.RemoteProtocolError, httpx.ReadError):
                if not reused[0]:
                    raise
        return await self._send(request)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        with _mended():
            response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _MendedStream(response.stream)
        return response


def _new_session(trust_env: bool) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        # How many requests are in flight is decided elsewhere.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        trust_env=trust_env,
    )


async def _note_reuse(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
    # Runs in the task that sends the request, so this is its own note.
    _reused.get()[0] = True
