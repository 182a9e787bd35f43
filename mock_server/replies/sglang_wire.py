"""Bytes on the wire as SGLang puts them: flat errors, and how a request's body is read."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from mock_server.errors import ApiError, Problem, echoed, invalid
from mock_server.replies import wire


def flat(status: int, kind: str, message: str) -> dict[str, Any]:
    """What an error's body says."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


FLAT_ERRORS = wire.ErrorShape(body=flat, event=lambda *error: {"error": flat(*error)})
"""SGLang's: flat in a body, under `error` in a stream."""


async def on_api_error(_request: Request, error: Exception) -> Response:
    """Exception handler for ApiError. What is wrong with the types is said with all that was given."""
    assert isinstance(error, ApiError)
    message = error.message
    if error.problems:
        message = f"{echoed(error.problems)}\n {[problem.echoing() for problem in error.problems]}"
    return wire.body(flat(error.status, error.kind, message), error.status)


async def read_object(request: Request, checks_type: bool = True) -> dict[str, Any]:
    """The JSON object in a request's body. Raises ApiError (400) for anything else."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if checks_type and media_type != "application/json":
        message = "Unsupported Media Type: Only 'application/json' is allowed"
        raise invalid([Problem("value_error", "header.content-type", message, None)])
    body = await request.body()
    if not body:
        raise invalid([Problem("missing", "body", "Field required", None)])
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = Problem("json_invalid", f"body.{error.pos}", "JSON decode error", {}, {"error": error.msg})
        raise invalid([problem]) from None
    if not isinstance(data, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise invalid([Problem("model_attributes_type", "body", message, data)])
    return data
