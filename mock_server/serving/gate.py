"""What every request passes through: the API key, and the headers that every answer carries (contract section 3)."""

from __future__ import annotations

import os
import secrets
from time import monotonic

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.errors import EngineCallError
from mock_server.replies.refusals import Refusals
from mock_server.replies.wire import body
from mock_server.serving.traffic import Traffic
from mock_server.versions import Profile


class Gate:
    """ASGI middleware, from the outside in: request id, API key, failed engine calls, `vary: Origin`.

    The order shows: a 401 and a 500 of an engine call carry no `vary` header.
    """

    def __init__(
        self,
        app: ASGIApp,
        traffic: Traffic,
        version: Profile,
        api_key: str | None = None,
        request_id_headers: bool = False,
    ) -> None:
        self.app = app
        self.traffic = traffic
        self.profile = version
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
            await _preflight(scope, self.profile.any_origin)(scope, receive, send)
        else:
            added.append((b"vary", b"Origin"))
            if self.profile.any_origin and _header(scope, b"origin"):
                added += ((b"access-control-allow-origin", b"*"), (b"access-control-allow-credentials", b"true"))
            try:
                await self.app(scope, receive, send)
            except EngineCallError as error:
                added.remove((b"vary", b"Origin"))
                await Refusals(self.profile).of_engine_call(error)(scope, receive, send)

    def _allows(self, scope: Scope, api_key: bytes) -> bool:
        # Sleep, wake_up and all of dev mode are not guarded: that is the real server's hole.
        if scope["method"] == "OPTIONS" or not scope["path"].startswith(self.profile.guarded):
            return True
        scheme, _, key = (_header(scope, b"authorization") or b"").partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(key, api_key)


def _is_preflight(scope: Scope) -> bool:
    return bool(_header(scope, b"origin") and _header(scope, b"access-control-request-method"))


def _preflight(scope: Scope, any_origin: bool) -> Response:
    """Without --allowed-origins the real server allows no origin, or all of them, by its version."""
    asked = "Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
    headers = {
        "access-control-allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY",
        "access-control-max-age": "600",
        "vary": f"Origin, {asked}",
    }
    wanted = _header(scope, b"access-control-request-headers")
    if wanted:
        headers["access-control-allow-headers"] = wanted.decode("latin-1")
    if any_origin:
        return PlainTextResponse("OK", 200, {**headers, "access-control-allow-origin": "*"})
    return PlainTextResponse("Disallowed CORS origin", 400, headers)


def _header(scope: Scope, name: bytes) -> bytes | None:
    value: bytes
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None
