"""Bytes on the wire: JSON, errors, event streams, and how a request's body is read (contract section 3)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mock_server.errors import Problem, UnreadableBody, invalid, wrong_media_type

DONE = b"data: [DONE]\n\n"


def encode(value: Any) -> bytes:
    """`value` as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # A lone surrogate, which orjson refuses: echoed from the request, as an escape.
        return json.dumps(value, separators=(",", ":")).encode()


def body(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(encode(value), status, headers, media_type="application/json")


def event(value: Any) -> bytes:
    """One event of a stream: a `data:` line and an empty one."""
    return b"data: " + encode(value) + b"\n\n"


async def on_unreadable_body(_request: Request, _error: Exception) -> Response:
    """Exception handler for UnreadableBody."""
    return body({"detail": "There was an error parsing the body"}, 400)


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """Exception handler for a client that hangs up while its body is read. Nobody gets this answer."""
    return Response(status_code=499)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Exception handler for what the router refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return body({"detail": error.detail}, error.status_code, headers)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises ApiError for a wrong content type, bad JSON or anything but an object, UnreadableBody for what is not text.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise wrong_media_type()
    data = parse(await request.body())
    if data is None:
        raise invalid([Problem("missing", "body", "Field required", None)])
    if not isinstance(data, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise invalid([Problem("model_attributes_type", "body", message, data)])
    return data


def parse(data: bytes) -> Any:
    """JSON to Python; nothing at all is None. What orjson refuses is left to the standard library to judge.

    The real server reads with the standard library: NaN, a byte order mark and lone surrogates are no errors there,
    and the words for what is an error are its own.
    """
    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # "Recursion limit reached" or "depth limit exceeded", by version. The real server gives up at about 1,000 too.
        if "limit" in str(error):
            raise UnreadableBody from None
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        problem = Problem("json_invalid", f"body.{error.pos}", "JSON decode error", {}, {"error": error.msg})
        raise invalid([problem]) from None
    except UnicodeDecodeError:
        raise UnreadableBody from None


class EventStream(Response):
    """An answer in events. Status and headers go out at once, before the first event is known.

    Starlette's own StreamingResponse costs a task group a request and listens for the client itself; here the
    generator of the events does (faces/completions.py).
    """

    def __init__(self, events: AsyncGenerator[bytes, None], media_type: str = "text/event-stream") -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.events = events
        self.init_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the events as they come."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self.events) as events:
                async for data in events:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        except ClientDisconnect:
            return  # nobody reads on, and no handler could answer any more
        await send({"type": "http.response.body", "body": b"", "more_body": False})
