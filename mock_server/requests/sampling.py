"""From a request's sampling fields to what is said: limits, stop strings and tokens, several choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mock_server.engine.machine import Plan
from mock_server.judge.answers import Answer
from mock_server.requests.fields import Fields
from mock_server.requests.structured import Constraint, read_constraint
from mock_server.tokens import END_TOKEN, ids_of, token_bytes

MOST_STOPS = 4
"""Stop strings that a request may have."""


@dataclass(slots=True)
class Sampling:
    """The sampling fields of one request; None where it leaves them out."""

    n: int
    temperature: float | None
    seed: int | None
    max_tokens: int | None
    stop: list[str]
    include_stop: bool
    ignore_eos: bool
    top_p: float | None
    top_k: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None = None
    min_p: float | None = None
    min_tokens: int = 0
    stop_token_ids: Sequence[int] = ()
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] = ()
    logit_bias: dict[str, Any] | None = None
    logprobs: int | None = None
    """Alternatives a token; None: no log probabilities at all. -1 is the whole vocabulary."""
    prompt_logprobs: int | None = None
    constraint: Constraint | None = None
    stops_grammars: bool = False
    """Whether a stop token also ends an answer that is bound to a grammar; otherwise the engine cannot go on (vLLM)."""

    @classmethod
    def read(cls, fields: Fields) -> Sampling:
        """The fields by type; ranges are checked later, by `check`, because the real server does so later."""
        n = fields.integer("n")
        most = fields.integer("max_completion_tokens")
        max_tokens = fields.integer("max_tokens")
        return cls(
            n=1 if n is None else n,
            temperature=fields.number("temperature"),
            seed=fields.integer("seed"),
            max_tokens=max_tokens if most is None else most,
            stop=fields.strings("stop", MOST_STOPS),
            include_stop=fields.boolean("include_stop_str_in_output"),
            ignore_eos=fields.boolean("ignore_eos"),
            top_p=fields.number("top_p"),
            top_k=fields.integer("top_k"),
            presence_penalty=fields.number("presence_penalty"),
            frequency_penalty=fields.number("frequency_penalty"),
            repetition_penalty=fields.number("repetition_penalty"),
            min_p=fields.number("min_p"),
            min_tokens=fields.integer("min_tokens") or 0,
            stop_token_ids=fields.integers("stop_token_ids") or (),
            allowed_token_ids=fields.integers("allowed_token_ids"),
            bad_words=fields.strings("bad_words"),
            logit_bias=fields.dictionary("logit_bias"),
            prompt_logprobs=fields.integer("prompt_logprobs"),
            constraint=read_constraint(fields),
        )

    def salt(self, choice: int) -> str:
        """What tells the draws of this choice from those of a plain request.

        The first choice of a request at temperature 0, or without a seed of its own, is the plain answer: the mock is
        deterministic where the real server, whose temperature is 1 when left out, is random.
        """
        seed = "" if self.seed is None or self.temperature == 0 else f"seed {self.seed}"
        return seed if choice == 0 else f"{seed} choice {choice}"


def plan(answer: Answer, sampling: Sampling, limit: int) -> Plan:
    """How `answer` is said when at most `limit` tokens may be generated. One byte is one token, its end one more."""
    text = answer.text.encode(errors="replace")
    if sampling.allowed_token_ids is not None:
        text = _allowed(text, sampling.allowed_token_ids, limit)
    if sampling.ignore_eos:
        text = _repeated(text, limit)
    elif len(text) < sampling.min_tokens:
        text = _repeated(text, sampling.min_tokens)[: sampling.min_tokens]
    stopped = _stopped(text, sampling, limit)
    if stopped:
        return stopped
    tokens = len(text) + (answer.finish_reason == "stop")
    if tokens > limit:
        return Plan(text[:limit], limit, "length")
    # A truncated answer of the scenario may be empty; the engine never says less than one token.
    return Plan(text, max(tokens, 1), answer.finish_reason)


def _stopped(text: bytes, sampling: Sampling, limit: int) -> Plan | None:
    """The plan up to the stop string or token that is complete first; the longest of several that end together."""
    # (end, start, reason): the text up to `start` is shown.
    found: list[tuple[int, int, str | int]] = []
    for stop in sampling.stop:
        pattern = stop.encode(errors="replace")
        # Before min_tokens nothing stops.
        at = text.find(pattern, max(0, sampling.min_tokens - len(pattern)), limit)
        if at >= 0:
            found.append((at + len(pattern), at, stop))
    for token_id in sampling.stop_token_ids:
        at = text.find(token_bytes(token_id), sampling.min_tokens, limit) if token_id < 256 else -1
        if at >= 0:
            found.append((at + 1, at, token_id))
    if not found:
        return None
    end, start, reason = min(found, key=lambda stop: stop[:2])
    if sampling.constraint and isinstance(reason, int) and not sampling.stops_grammars:
        # A grammar takes a stop token for its end: one that it needs in the midst of the text leaves no way on.
        return Plan(text[:start], end, "error")
    shown = end if sampling.include_stop else start
    return Plan(text[:shown], end, "stop", reason, unseen=text[shown:end])


def _allowed(text: bytes, allowed: Sequence[int], limit: int) -> bytes:
    """What is left of `text` when only these tokens may be said; without the end token among them it never ends."""
    kept = bytes(byte for byte, token_id in zip(text, ids_of(text), strict=True) if token_id in allowed)
    if END_TOKEN in allowed:
        return kept
    unit = kept or next((token_bytes(token_id) for token_id in allowed if token_id < 256), b"")
    return unit * (limit // max(1, len(unit)) + 1) if unit else b""


def _repeated(text: bytes, size: int) -> bytes:
    """`text` again and again: what a judge says that must not stop."""
    unit = text + b"\n"
    return (unit * (size // len(unit) + 1))[: size + 1]
