"""Errors as a server words them: an ApiError -> the body of an answer, or an event in a stream.

vLLM's are {"error": {"message", "type", "param", "code"}} in both; up to 0.10.0 {"object": "error", "message", ...} as
a body, and that under "error" as an event (contract section 5). SGLang's are in sglang_wire.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mock_server.errors import ApiError, EngineCallError, EngineDeadError, echoed
from mock_server.replies import wire
from mock_server.versions import Profile


class ErrorShape(NamedTuple):
    """How a kind of server words an error: the JSON of a body, and of an event."""

    body: Callable[[ApiError], dict[str, Any]]
    event: Callable[[ApiError], dict[str, Any]]


def _nested(error: ApiError) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.status}}


def flat(error: ApiError) -> dict[str, Any]:
    """An error with nothing around it."""
    return {"object": "error", **_nested(error)["error"]}


def _flat_event(error: ApiError) -> dict[str, Any]:
    # Everything that goes wrong in a stream is called a bad request there.
    return {"error": {**flat(error), "type": "BadRequestError", "code": 400}}


NESTED_ERRORS = ErrorShape(body=_nested, event=_nested)
FLAT_ERRORS = ErrorShape(body=flat, event=_flat_event)


class Refusals:
    """The errors of one version of vLLM."""

    def __init__(self, version: Profile) -> None:
        self.profile = version
        self.shape = FLAT_ERRORS if version.flat_errors else NESTED_ERRORS

    async def on_api_error(self, _request: Request, error: Exception) -> Response:
        """Exception handler for ApiError."""
        assert isinstance(error, ApiError)
        if self.profile.bare_errors and isinstance(error, EngineDeadError):
            return Response(status_code=error.status)
        if self.profile.echoes_input and error.problems:
            error.message = echoed(error.problems)
        return wire.body(self.shape.body(error), error.status)

    def of_engine_call(self, error: EngineCallError) -> Response:
        """The answer to a call into the engine that failed."""
        if self.profile.bare_errors:
            return PlainTextResponse("Internal Server Error", 500)
        return wire.body(self.shape.body(ApiError(500, "InternalServerError", str(error))), 500)
