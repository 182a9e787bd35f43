"""Two ASGI apps: one stands before a real server and records, the other answers from a cassette."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mock_server.cassettes.cassette import KEPT_HEADERS, Answered, Asked, Cassette
from mock_server.cassettes.misses import explain

logger = logging.getLogger(__name__)

# What a client tells the server besides the body. Its key is passed on, and never kept.
_PASSED_ON = ("accept", "authorization", "content-type", "x-api-key", "x-request-id")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
# A real server may take its time: a judge that sleeps holds requests for ever.
_TIMEOUT = httpx.Timeout(None, connect=10.0)


def recording_app(upstream: str, path: Path) -> Starlette:
    """Pass everything on to `upstream`, and write what it answers to the cassette at `path`.

    The cassette is written after each answer, so that nothing is lost when the recording is ended. An existing one is
    added to.

    Raises:
        CassetteError: there is a file at `path` that is no cassette.
    """
    cassette = Cassette.load(path) if path.exists() else Cassette()
    http = httpx.AsyncClient(base_url=upstream, timeout=_TIMEOUT)

    async def record(request: Request) -> Response:
        body = await request.body()
        asked = Asked.of(request.method, request.url.path, request.url.query, body)
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        url = httpx.URL(request.url.path, query=request.url.query.encode())
        try:
            answer = await http.send(
                http.build_request(request.method, url, content=body, headers=headers), stream=True
            )
        except httpx.TransportError as error:
            message = f"{upstream} does not answer: {type(error).__name__}: {error}"
            return JSONResponse({"error": {"message": message, "type": "recording", "code": 502}}, 502)
        kept = tuple((name, answer.headers[name]) for name in KEPT_HEADERS if name in answer.headers)
        secrets = _secrets_of(request)

        async def pass_on() -> AsyncIterator[bytes]:
            pieces: list[bytes] = []
            try:
                async for piece in answer.aiter_bytes():
                    pieces.append(piece)
                    yield piece
            finally:
                await answer.aclose()
            # Only what came whole is an answer.
            cassette.record(asked, Answered(answer.status_code, kept, _clean(pieces, secrets)))
            cassette.save(path)

        return StreamingResponse(pass_on(), answer.status_code, dict(kept))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    return Starlette(routes=[Route("/{path:path}", record, methods=_METHODS)], lifespan=lifespan)


def replay_app(cassette: Cassette) -> Starlette:
    """Answer from a cassette. What is not in it is answered with 404 and an explanation, and logged."""

    async def replay(request: Request) -> Response:
        asked = Asked.of(request.method, request.url.path, request.url.query, await request.body())
        answered = cassette.find(asked)
        if answered is None:
            message = explain(asked, cassette)
            logger.warning("%s", message)
            return JSONResponse(
                {"error": {"message": message, "type": "cassette_miss", "param": None, "code": 404}}, 404
            )
        headers = dict(answered.headers)
        if len(answered.pieces) <= 1:
            return Response(b"".join(answered.pieces), answered.status, headers)

        async def pieces() -> AsyncIterator[bytes]:
            for piece in answered.pieces:
                yield piece

        return StreamingResponse(pieces(), answered.status, headers)

    return Starlette(routes=[Route("/{path:path}", replay, methods=_METHODS)])


def _secrets_of(request: Request) -> list[bytes]:
    """The keys that came with a request; some servers repeat them in their errors."""
    bearer = request.headers.get("authorization", "").rpartition(" ")[2]
    return [secret.encode() for secret in (bearer, request.headers.get("x-api-key", "")) if len(secret) > 4]


def _clean(pieces: list[bytes], secrets: list[bytes]) -> tuple[bytes, ...]:
    """The pieces without the secrets. With one in them they become one piece: it may have come in two."""
    whole = b"".join(pieces)
    if not any(secret in whole for secret in secrets):
        return tuple(pieces)
    for secret in secrets:
        whole = whole.replace(secret, b"***")
    return (whole,)
