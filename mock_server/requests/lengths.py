"""What fits into the context: the served model's limits, and the refusal of prompts beyond (contract section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mock_server.errors import ApiError, bad_request
from mock_server.tokens import LONGEST_TOKEN, count_tokens
from mock_server.versions import Profile, profile


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request is held against: the served model's name, its context length in tokens, and the server version."""

    model: str
    max_model_len: int
    profile: Profile = field(default_factory=profile)


def check_text(text: str, limits: Limits, output: int | None) -> int:
    """Tokens of `text`. Raises ApiError (400) if they do not fit, or not together with `output` tokens."""
    room = limits.max_model_len - _reserved(limits, output)
    most = room * LONGEST_TOKEN
    if len(text) > most:
        contains = (
            f"{len(text)} characters (more than {most} characters, which is the upper bound for {room} input tokens)"
        )
        raise _too_long(limits, output, contains, "", "input_text", len(text))
    try:
        tokens = count_tokens(text)
    except UnicodeEncodeError:
        message = "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]"
        raise bad_request(message) from None
    return check_tokens(tokens, limits, output)


def check_tokens(tokens: int, limits: Limits, output: int | None) -> int:
    """The same for a prompt that comes in tokens."""
    reserved = _reserved(limits, output)
    room = limits.max_model_len - reserved
    if tokens > room:
        # The real server stops counting one token past the limit.
        counted = room + 1
        total = f", for a total of at least {counted + reserved} tokens"
        alone = ", which exceeds this limit even without any output tokens"
        contains = f"at least {counted} input tokens"
        raise _too_long(limits, output, contains, total if reserved else alone, "input_tokens", counted)
    return tokens


def _reserved(limits: Limits, output: int | None) -> int:
    """Tokens that the prompt may not take: only versions that do not cut the output down keep any."""
    return 0 if limits.profile.clamps_output or output is None else min(output, limits.max_model_len)


def _too_long(limits: Limits, output: int | None, contains: str, reason: str, parameter: str, value: int) -> ApiError:
    reserved = _reserved(limits, output)
    requested = f"you requested {reserved} output tokens and " if reserved else ""
    reduce = " or the number of requested output tokens" if reserved else ""
    return bad_request(
        f"This model's maximum context length is {limits.max_model_len} tokens. However, {requested}your prompt "
        f"contains {contains}{reason}. Please reduce the length of the input prompt{reduce}.",
        parameter,
        value,
    )
