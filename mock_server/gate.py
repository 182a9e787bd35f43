"""What every request passes through: the API key, and the headers that every answer carries (contract section 3)."""

from __future__ import annotations

import os
import secrets
from time import monotonic

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.errors import EngineCallError
from mock_server.traffic import Traffic
from mock_server.wire import body, engine_error

GUARDED = ("/v1", "/v2", "/inference", "/cohere")
"""Only these paths ask for the API key. Sleep, wake_up and all of dev mode do not: that is the real server's hole."""


class Gate:
    """ASGI middleware, from the outside in: request id, API key, failed engine calls, `vary: Origin`.

    The order shows: a 401 and a 500 of an engine call carry no `vary` header.
    """

    def __init__(
        self, app: ASGIApp, traffic: Traffic, api_key: str | None = None, request_id_headers: bool = False
    ) -> None:
        self.app = app
        self.traffic = traffic
        self.api_key = api_key.encode() if api_key else None
        self.request_id_headers = request_id_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it; then count it."""
        if scope["type"] != "http":  # the server starts or stops
            await self.app(scope, receive, send)
            return
        status, started = 500, monotonic()
        added: list[tuple[bytes, bytes]] = []

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        if self.request_id_headers:
            added.append((b"x-request-id", _header(scope, b"x-request-id") or os.urandom(16).hex().encode()))
        try:
            await self._answer(scope, receive, sending, added)
        finally:
            self.traffic.add(scope["path"], scope["method"], status, monotonic() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, added: list[tuple[bytes, bytes]]) -> None:
        """`added` are the headers that the answer will get besides its own."""
        if self.api_key and not self._allows(scope, self.api_key):
            await body({"error": "Unauthorized"}, 401)(scope, receive, send)
        elif scope["method"] == "OPTIONS" and _is_preflight(scope):
            await _preflight(scope)(scope, receive, send)
        else:
            added.append((b"vary", b"Origin"))
            try:
                await self.app(scope, receive, send)
            except EngineCallError as error:
                added.pop()
                await engine_error(error)(scope, receive, send)

    def _allows(self, scope: Scope, api_key: bytes) -> bool:
        if scope["method"] == "OPTIONS" or not scope["path"].startswith(GUARDED):
            return True
        scheme, _, key = (_header(scope, b"authorization") or b"").partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(key, api_key)


def _is_preflight(scope: Scope) -> bool:
    return bool(_header(scope, b"origin") and _header(scope, b"access-control-request-method"))


def _preflight(scope: Scope) -> Response:
    """No origin is allowed, as on the real server without --allowed-origins."""
    asked = "Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
    headers = {
        "access-control-allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY",
        "access-control-max-age": "600",
        "vary": f"Origin, {asked}",
    }
    wanted = _header(scope, b"access-control-request-headers")
    if wanted:
        headers["access-control-allow-headers"] = wanted.decode("latin-1")
    return PlainTextResponse("Disallowed CORS origin", 400, headers)


def _header(scope: Scope, name: bytes) -> bytes | None:
    value: bytes
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None
