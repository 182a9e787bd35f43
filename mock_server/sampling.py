"""From a request's sampling fields to what is said: limits, stop strings, several choices. Checks as vLLM 0.32.0."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mock_server.answers import Answer
from mock_server.engine import Plan
from mock_server.errors import bad_request
from mock_server.fields import Fields

MOST_CHOICES = 16384


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
            stop=fields.strings("stop"),
            include_stop=fields.boolean("include_stop_str_in_output"),
            ignore_eos=fields.boolean("ignore_eos"),
            top_p=fields.number("top_p"),
            top_k=fields.integer("top_k"),
            presence_penalty=fields.number("presence_penalty"),
            frequency_penalty=fields.number("frequency_penalty"),
        )

    def check(self, max_model_len: int) -> None:
        """Raises ApiError (400) for a value out of range, the first one as the real server looks at them."""
        if self.max_tokens is not None and self.max_tokens > max_model_len:
            raise bad_request(
                f"max_tokens={self.max_tokens} cannot be greater than max_model_len={max_model_len}. "
                "Please request fewer output tokens.",
                "max_tokens",
                self.max_tokens,
            )
        if self.n < 1:
            raise bad_request(f"n must be at least 1, got {self.n}.")
        if self.n > MOST_CHOICES:
            raise bad_request(
                f"n must be at most {MOST_CHOICES}, got {self.n}. "
                "To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
            )
        self._check_penalties()
        self._check_temperature()
        self._check_tops()
        if self.max_tokens is not None and self.max_tokens < 1:
            raise bad_request(f"max_tokens must be at least 1, got {self.max_tokens}.", "max_tokens", self.max_tokens)
        if "" in self.stop:
            raise bad_request("stop cannot contain an empty string.")
        if self.n > 1 and self.temperature == 0:
            raise bad_request(f"n must be 1 when using greedy sampling, got {self.n}.")

    def _check_penalties(self) -> None:
        for name in ("presence_penalty", "frequency_penalty"):
            value = getattr(self, name)
            if value is not None and not -2 <= value <= 2:
                raise bad_request(f"{name} must be in [-2, 2], got {value}.")

    def _check_temperature(self) -> None:
        value = self.temperature
        if value is None:
            return
        if not math.isfinite(value):
            raise bad_request(f"temperature must be a finite number, got {value}.", "temperature", value)
        if value < 0:
            raise bad_request(f"temperature must be non-negative, got {value}.", "temperature", value)
        if value > 2:
            raise bad_request(f"temperature must be in [0, 2], got {value}.", "temperature", value)

    def _check_tops(self) -> None:
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise bad_request(f"top_p must be in (0, 1], got {self.top_p}.", "top_p", self.top_p)
        if self.top_k is not None and self.top_k < -1:
            raise bad_request(f"top_k must be 0 (disable), or at least 1, got {self.top_k}.")

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
    if sampling.ignore_eos:
        text = _repeated(text, limit)
    stopped = _stopped(text, sampling, limit)
    if stopped:
        return stopped
    tokens = len(text) + (answer.finish_reason == "stop")
    if tokens > limit:
        return Plan(text[:limit], limit, "length")
    # A truncated answer of the scenario may be empty; the engine never says less than one token.
    return Plan(text, max(tokens, 1), answer.finish_reason)


def _stopped(text: bytes, sampling: Sampling, limit: int) -> Plan | None:
    """The plan up to the stop string that is complete first; the longest of several that end together."""
    first: tuple[int, int, str] | None = None
    for stop in sampling.stop:
        pattern = stop.encode(errors="replace")
        at = text.find(pattern, 0, limit)
        if at >= 0 and (first is None or (at + len(pattern), at) < first[:2]):
            first = (at + len(pattern), at, stop)
    if first is None:
        return None
    end, start, stop = first
    return Plan(text[: end if sampling.include_stop else start], end, "stop", stop)


def _repeated(text: bytes, size: int) -> bytes:
    """`text` again and again: what a judge says that must not stop."""
    unit = text + b"\n"
    return (unit * (size // len(unit) + 1))[: size + 1]
