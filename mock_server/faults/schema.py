"""The schema of a fault plan, the part `faults:` of a scenario: which calls go wrong, and how.

    faults:
      - match: {problem: eggs}           # also solution, content, path, scope, stream, running; none: all completions
        when: {nth: [1, 2]}              # or {every: 3}, {share: 0.1}; left out: every call
        times: 2                         # at most so often for the same content
        fault: {status: 503}             # exactly one kind

The first fault that fires on a call is what happens to it; latencies add up and pass the call on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mock_server.schema import Share, Strict, TextMatch

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Calls = Annotated[int, Field(ge=1)]
Yes = Literal[True]


class FaultMatch(Strict):
    """Which requests a fault is for. What is not named matches anything."""

    problem: TextMatch | None = None
    """In the problem of a judge's prompt."""
    solution: TextMatch | None = None
    """In the solution of a judge's prompt."""
    content: TextMatch | None = None
    """In all messages (or the prompt) together."""
    path: Annotated[str, Field(pattern="^/")] | None = None
    """The whole path, of any endpoint; left out: the completions."""
    scope: str | None = None
    """The X-Mock-Scope header."""
    stream: bool | None = None
    running: bool | None = None
    """Only while the engine is answering requests, or only while it is not."""


class When(Strict):
    """Which calls of the same content; at most one is given. Calls are counted from 1, in each scope by itself."""

    nth: list[Calls] | None = None
    every: Calls | None = None
    """Every so many calls: 1 is all of them, 3 the third, the sixth..."""
    share: Share | None = None
    """Drawn from (seed, content, number of the fault, number of the call)."""

    @model_validator(mode="before")
    @classmethod
    def _bare_word(cls, value: Any) -> Any:
        return {"every": 1} if value == "every" else value

    @field_validator("nth", mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    @model_validator(mode="after")
    def _at_most_one(self) -> When:
        if sum(value is not None for value in (self.nth, self.every, self.share)) > 1:
            raise ValueError("give one of: nth, every, share")
        return self


class Status(Strict):
    """An error status instead of an answer, with a body as vLLM words it. A bare number is the code."""

    code: Annotated[int, Field(ge=400, le=599)]
    retry_after: Annotated[float, Field(ge=0, allow_inf_nan=False)] | str | None = None
    """Seconds, or the header's text as it is."""
    message: str = "This failure was planned."


class Latency(Strict):
    """A pause before the request is looked at; the call then goes on. A bare number is the seconds.

    uniform: seconds +- jitter; normal: mean seconds, deviation jitter, never below 0; exponential: mean seconds.
    """

    seconds: Seconds
    jitter: Seconds = 0.0
    distribution: Literal["uniform", "normal", "exponential"] = "uniform"


class Drip(Strict):
    """The answer so many bytes at a time, with a pause after each."""

    bytes: Calls = 1
    seconds: Seconds = 0.1


class Reset(Strict):
    """The connection is reset (RST): before anything is said, or after that share of the body."""

    after: Share | None = None


class Cut(Strict):
    """The connection closes after that share of the body."""

    at: Share = 0.5
    framing: Literal["as_is", "length", "chunked"] = "as_is"
    """as_is: a content-length for whole answers, chunks for streams."""


class FinishReason(Strict):
    """The answer ends for another reason. A bare word is the reason."""

    reason: Literal["abort", "length", "content_filter"]
    keep: Share = 0.5
    """How much of the text there is. With 1 a whole verdict comes that does not count."""


class ErrorEvent(Strict):
    """A stream that ends with an error event under HTTP 200, after that share of its chunks; without streaming an
    error as the body of a 200."""

    after: Share = 0.5
    message: str = "Internal server error"


class EngineDeath(Strict):
    """The engine dies: whatever is in flight fails, then connections are refused."""

    restart_after_s: Seconds | None = None
    """Seconds until it listens again, with a fresh engine; null: never."""
    behind: bool = False
    """The call that it befalls is answered first, as if all were well."""


class FaultKind(Strict):
    """What goes wrong. Exactly one field is given; a kind without fields of its own is `true` or its bare name."""

    status: Status | None = None
    latency: Latency | None = None
    hang: Yes | None = None
    """Nothing is answered, not even headers, until the client gives up."""
    drip: Drip | None = None
    reset: Reset | None = None
    close: Yes | None = None
    """The connection closes without an answer."""
    cut: Cut | None = None
    malformed_chunk: Yes | None = None
    """A chunk whose length is no number, in the middle of the body."""
    content_type: str | None = None
    """The answer, said to be of this type."""
    invalid_json: Yes | None = None
    """Half the JSON, in a body (or an event) that is whole for HTTP."""
    empty_choices: Yes | None = None
    null_content: Yes | None = None
    finish_reason: FinishReason | None = None
    done_missing: Yes | None = None
    """A stream that ends without [DONE]. Fires on streams only."""
    error_event: ErrorEvent | None = None
    engine_death: EngineDeath | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {value: True}
        if not isinstance(value, dict):
            return value
        return {kind: _spelled_out(kind, given) for kind, given in value.items()}

    @model_validator(mode="after")
    def _exactly_one(self) -> FaultKind:
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise ValueError(f"give exactly one of: {', '.join(KINDS)}")
        return self

    @property
    def kind(self) -> str:
        """The name of the one that is given."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


KINDS = tuple(FaultKind.model_fields)
_MAIN_FIELD = {"status": "code", "latency": "seconds", "finish_reason": "reason"}
_NEEDS_NOTHING = ("drip", "reset", "cut", "error_event", "engine_death")


def _spelled_out(kind: str, given: Any) -> Any:
    if kind in _MAIN_FIELD and isinstance(given, int | float | str):
        return {_MAIN_FIELD[kind]: given}
    if kind == "content_type" and given is True:
        return "text/html"
    return {} if kind in _NEEDS_NOTHING and given is True else given


class Fault(Strict):
    """One entry of a fault plan."""

    match: FaultMatch = FaultMatch()
    when: When = When(every=1)
    times: Calls | None = None
    """At most so many calls of the same content, of those that `when` names."""
    fault: FaultKind

    @property
    def streams_only(self) -> bool:
        """Whether this kind of fault only exists for streams."""
        return self.fault.done_missing is not None
