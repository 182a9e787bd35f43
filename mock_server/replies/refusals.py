"""Errors as a server version words them: an ApiError -> the body of an answer, or the last event of a stream.

{"error": {"message", "type", "param", "code"}} in both; up to 0.10.0 {"object": "error", "message", ...} as a body, and
that under "error" as an event (contract section 5).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mock_server.errors import ApiError, EngineCallError, EngineDeadError, echoed
from mock_server.replies import wire
from mock_server.versions import Profile


class Refusals:
    """The errors of one version."""

    def __init__(self, version: Profile) -> None:
        self.profile = version

    async def on_api_error(self, _request: Request, error: Exception) -> Response:
        """Exception handler for ApiError."""
        assert isinstance(error, ApiError)
        if self.profile.bare_errors and isinstance(error, EngineDeadError):
            return Response(status_code=error.status)
        if self.profile.echoes_input and error.problems:
            error.message = echoed(error.problems)
        said = self._said(error)
        return wire.body(said if self.profile.flat_errors else {"error": said}, error.status)

    def event(self, error: ApiError) -> bytes:
        """What a stream ends with whose request has failed."""
        said = self._said(error)
        if self.profile.flat_errors:
            # Everything that goes wrong in a stream is called a bad request there.
            said |= {"type": "BadRequestError", "code": 400}
        return wire.event({"error": said})

    def of_engine_call(self, error: EngineCallError) -> Response:
        """The answer to a call into the engine that failed."""
        if self.profile.bare_errors:
            return PlainTextResponse("Internal Server Error", 500)
        return wire.error_body(500, "InternalServerError", str(error))

    def _said(self, error: ApiError) -> dict[str, Any]:
        said = {"message": error.message, "type": error.kind, "param": error.param, "code": error.status}
        return {"object": "error", **said} if self.profile.flat_errors else said
