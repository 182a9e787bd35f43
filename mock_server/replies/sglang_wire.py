"""Bytes on the wire as SGLang puts them: flat errors, and how a request's body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from mock_server.errors import ApiError, Problem, echoed, invalid
from mock_server.replies import wire
from mock_server.replies.refusals import ErrorShape, flat

_FILE = "/usr/local/lib/python3.12/dist-packages/sglang/srt/entrypoints/http_server.py"
"""Where the real server says that it was when it found something wrong."""


def _body(error: ApiError) -> dict[str, Any]:
    return {**flat(error), "param": None}


def _in_stream(error: ApiError) -> dict[str, Any]:
    return {"error": {**_body(error), "type": HTTPStatus(error.status).name}}


def _in_generate_stream(error: ApiError) -> dict[str, Any]:
    said = {"message": error.message, "type": "invalid_request_error", "code": error.status, "retryable": False}
    return {"error": said}


OPENAI_ERRORS = ErrorShape(body=_body, event=_in_stream)
"""Of its OpenAI endpoints: flat in a body, under `error` in a stream."""
GENERATE_ERRORS = ErrorShape(body=_body, event=_in_generate_stream)
"""Of /generate."""


Handler = Callable[[Request, Exception], Awaitable[Response]]


def error_handler(sources: Mapping[str, tuple[str, int]]) -> Handler:
    """Exception handler for ApiError. `sources`: the function behind each path, and its line, which messages name."""

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        message = error.message
        if error.problems:
            # What is wrong with the types is said twice, with all that was given.
            problems = [problem.echoing() for problem in error.problems]
            message = f"{echoed(error.problems)}{_place(request, sources)} {problems}"
        return wire.body({**_body(error), "message": message}, error.status)

    return on_api_error


def _place(request: Request, sources: Mapping[str, tuple[str, int]]) -> str:
    path = request.url.path
    if path not in sources:
        return ""
    function, line = sources[path]
    return f'\n\n  File "{_FILE}", line {line}, in {function}\n    {request.method} {path}'


async def read_json(request: Request) -> Any:
    """The JSON in a request's body, or the body itself where it is not announced as JSON.

    It is read by orjson, so NaN and lone surrogates are errors. Raises ApiError (400).
    """
    body = await request.body()
    if not body:
        raise invalid([Problem("missing", "body", "Field required", None)])
    if _media_type(request) != "application/json":
        return body
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = Problem("json_invalid", f"body.{error.pos}", "JSON decode error", {}, {"error": error.msg})
        raise invalid([problem]) from None


async def read_checked(request: Request) -> Any:
    """The same where the type is checked."""
    if _media_type(request) != "application/json":
        message = "Unsupported Media Type: Only 'application/json' is allowed"
        problem = {"loc": ["header", "content-type"], "msg": message, "type": "value_error"}
        raise ApiError(400, "Bad Request", f"1 validation error:\n  {problem} [{problem}]")
    return await read_json(request)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
