"""What the mock answers instead of a completion, mostly in the words of vLLM 0.32.0 (contract section 3).

ApiError             a refused request: status and error body
  bad_request()      "BadRequestError": a check of vLLM's own
  invalid()          "Bad Request": a field of the wrong type, in pydantic's words
  unknown_model()    "NotFoundError"
  GenerationError    a request died in the engine: 500, or an error event in its stream
  EngineDeadError    ... and the engine with it
EngineCallError      a call into the engine failed: 500 (wake_up with a tag given twice)
  WorkerError          ... in the worker under it (collective_rpc of an unknown method)
SchedulerCrash       a call after which there is no SGLang server any more
UnhandledError       500 in plain text
UnreadableBody       a body that cannot even be decoded: 400 {"detail": ...}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MOST_PROBLEMS = 10
"""So many problems of one request are spelt out, the others counted."""


class ApiError(Exception):
    """A request that is refused, with what the client gets to read."""

    problems: Sequence[Problem] = ()
    """What is wrong with the types, where that is why."""
    in_stream = False
    """Whether a stream has begun by the time it is found out."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param


class EngineCallError(Exception):
    """A call into the engine failed half way; the engine lives on."""

    def __init__(self, method: str, reason: object) -> None:
        super().__init__(f"Call to {method} method failed: {reason}")


class WorkerError(EngineCallError):
    """The worker process under the engine could not do what it was told."""

    def __init__(self, method: str, reason: object) -> None:
        worker = f"Worker failed with error '{reason}', please check the stack trace above for the root cause"
        super().__init__(method, worker)


class GenerationError(ApiError):
    """The engine could not go on with one request; it lives on."""

    def __init__(self) -> None:
        super().__init__(500, "InternalServerError", "Internal server error")


class EngineDeadError(ApiError):
    """The engine died; the server goes down after it."""

    def __init__(self) -> None:
        message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
        super().__init__(500, "InternalServerError", message)


class SchedulerCrash(Exception):
    """A call that SGLang's scheduler does not survive, nor the server with it."""


class UnhandledError(Exception):
    """Something that the real server does not expect: 500, in plain text."""


class UnreadableBody(Exception):
    """The body is not text, or too deeply nested to be read."""


class Problem(dict[str, Any]):
    """One entry of a validation error: type, loc, msg, input and perhaps ctx, in this order."""

    def __init__(self, kind: str, loc: str, message: str, given: object, ctx: dict[str, Any] | None = None) -> None:
        super().__init__(type=kind, loc=loc, msg=message, input=_summary(given))
        if ctx:
            self["ctx"] = ctx
        self.given = given

    def echoing(self) -> dict[str, Any]:
        """The problem as versions before 0.32 say it: the place as a tuple, and all that was given."""
        parts = [int(part) if part.isdecimal() else part for part in self["loc"].split(".")]
        return {**self, "loc": tuple(parts), "input": self.given}


def bad_request(message: str, parameter: str | None = None, value: object = None) -> ApiError:
    """One of vLLM's own checks failed. Where it knows the parameter it says so at the end of the message."""
    if parameter is not None:
        suffix = f", value={value}" if value is not None else ""
        message = f"{message} (parameter={parameter}{suffix})"
    return ApiError(400, "BadRequestError", message, parameter)


def invalid(problems: Sequence[Problem]) -> ApiError:
    """The body or the query does not have the right types."""
    count = len(problems)
    lines = [str(dict(problem)) for problem in problems[:MOST_PROBLEMS]]
    if count > MOST_PROBLEMS:
        lines.append(f"...and {count - MOST_PROBLEMS} more errors")
    error = ApiError(400, "Bad Request", _listed(count, lines), problems[0]["loc"])
    error.problems = problems
    return error


def echoed(problems: Sequence[Problem]) -> str:
    """The message of such a refusal by a version that repeats the input."""
    return _listed(len(problems), [str(problem.echoing()) for problem in problems])


def _listed(count: int, lines: Sequence[str]) -> str:
    return f"{count} validation error{'s' if count > 1 else ''}:" + "".join(f"\n  {line}" for line in lines)


def wrong_media_type() -> ApiError:
    """The body is not announced as JSON."""
    message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
    return ApiError(400, "Bad Request", message)


def unknown_model(model: str, served: str | None) -> ApiError:
    """The request names a model that is not served; `served` is named if given."""
    message = f"The model `{model}` does not exist." + (f" Valid aliases: {served}." if served else "")
    return ApiError(404, "NotFoundError", message, "model")


def _summary(given: object) -> str:
    if isinstance(given, dict | list):
        return f"<{type(given).__name__} of {len(given)} items>"
    return str(given)
