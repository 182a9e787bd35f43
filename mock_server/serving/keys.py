"""SGLang's two keys: one for asking, one for what changes the server (its utils/auth.py)."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mock_server.errors import UnhandledError
from mock_server.replies.wire import body


class KeyGate:
    """ASGI middleware that asks for a key: `admin_key` on `admin_paths` (`key` where there is none), `key` elsewhere.

    Paths that begin like those in `open_paths` are free. With both keys neither opens what is the other's.
    """

    def __init__(
        self,
        app: ASGIApp,
        key: str | None,
        admin_key: str | None,
        admin_paths: Collection[str],
        open_paths: tuple[str, ...],
    ) -> None:
        self.app = app
        self.key = key
        self.admin_key = admin_key or key
        self.admin_paths = frozenset(admin_paths)
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "http" and not self._allows(scope):
            await body({"error": "Unauthorized"}, 401)(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except UnhandledError:
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        path = scope["path"]
        wanted = self.admin_key if path in self.admin_paths else self.key
        if not wanted or scope["method"] == "OPTIONS" or path.startswith(self.open_paths):
            return True
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(given.encode(), wanted.encode())
