"""The ranges of sampling fields: what vLLM 0.32.0 refuses, in its order and words (vllm/sampling_params.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mock_server.errors import bad_request
from mock_server.requests.lengths import Limits
from mock_server.requests.sampling import Sampling
from mock_server.tokens import VOCABULARY

MOST_CHOICES = 16384
MOST_LOGPROBS = 20


def check(sampling: Sampling, limits: Limits) -> None:
    """Raises ApiError (400) for a value out of range, the first one as the real server looks at them."""
    check_max_tokens(sampling, limits)
    _check_n(sampling)
    _check_penalties(sampling)
    _check_temperature(sampling, limits.profile.hottest)
    _check_tops(sampling)
    _check_lengths(sampling)
    if sampling.n > 1 and sampling.temperature == 0:
        raise bad_request(f"n must be 1 when using greedy sampling, got {sampling.n}.")
    _check_logprobs(sampling)
    _check_tokens(sampling)
    if sampling.constraint:
        sampling.constraint.check()


def check_max_tokens(sampling: Sampling, limits: Limits) -> None:
    """Raises ApiError (400) if more tokens are asked for than the context has."""
    most = sampling.max_tokens
    if most is not None and most > limits.max_model_len:
        name = "max_model_len" if limits.profile.clamps_output else "max_model_len=max_total_tokens"
        raise bad_request(
            f"max_tokens={most} cannot be greater than {name}={limits.max_model_len}. "
            "Please request fewer output tokens.",
            "max_tokens",
            most,
        )


def _check_n(sampling: Sampling) -> None:
    if sampling.n < 1:
        raise bad_request(f"n must be at least 1, got {sampling.n}.")
    if sampling.n > MOST_CHOICES:
        raise bad_request(
            f"n must be at most {MOST_CHOICES}, got {sampling.n}. "
            "To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
        )


def _check_penalties(sampling: Sampling) -> None:
    for name in ("presence_penalty", "frequency_penalty"):
        value = getattr(sampling, name)
        if value is not None and not -2 <= value <= 2:
            raise bad_request(f"{name} must be in [-2, 2], got {value}.")
    value = sampling.repetition_penalty
    if value is not None and not math.isfinite(value):
        raise bad_request(f"repetition_penalty must be a finite number, got {value}.")
    if value is not None and value <= 0:
        raise bad_request(f"repetition_penalty must be greater than zero, got {value}.")


def _check_temperature(sampling: Sampling, hottest: float) -> None:
    value = sampling.temperature
    if value is None:
        return
    if not math.isfinite(value):
        raise bad_request(f"temperature must be a finite number, got {value}.", "temperature", value)
    if value < 0:
        raise bad_request(f"temperature must be non-negative, got {value}.", "temperature", value)
    if value > hottest:
        raise bad_request(f"temperature must be in [0, 2], got {value}.", "temperature", value)


def _check_tops(sampling: Sampling) -> None:
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        raise bad_request(f"top_p must be in (0, 1], got {sampling.top_p}.", "top_p", sampling.top_p)
    if sampling.top_k is not None and sampling.top_k < -1:
        raise bad_request(f"top_k must be 0 (disable), or at least 1, got {sampling.top_k}.")
    if sampling.min_p is not None and not 0 <= sampling.min_p <= 1:
        raise bad_request(f"min_p must be in [0, 1], got {sampling.min_p}.")


def _check_lengths(sampling: Sampling) -> None:
    most, least = sampling.max_tokens, sampling.min_tokens
    if most is not None and most < 1:
        raise bad_request(f"max_tokens must be at least 1, got {most}.", "max_tokens", most)
    if least < 0:
        raise bad_request(f"min_tokens must be greater than or equal to 0, got {least}.")
    if most is not None and least > most:
        raise bad_request(f"min_tokens must be less than or equal to max_tokens={most}, got {least}.")
    if "" in sampling.stop:
        raise bad_request("stop cannot contain an empty string.")
    if "" in sampling.bad_words:
        raise bad_request(f"bad_words cannot contain an empty string. Got bad_words={list(sampling.bad_words)}")


def _check_logprobs(sampling: Sampling) -> None:
    for kind, parameter, asked in (
        ("sample", "logprobs", sampling.logprobs),
        ("prompt", "prompt_logprobs", sampling.prompt_logprobs),
    ):
        value = VOCABULARY if asked == -1 else asked
        if value and value > MOST_LOGPROBS:
            message = f"Requested {kind} logprobs of {value}, which is greater than max allowed: {MOST_LOGPROBS}"
            raise bad_request(message, parameter, value)


def _check_tokens(sampling: Sampling) -> None:
    _check_vocabulary("logit_bias", [int(name) for name in sampling.logit_bias or () if name.lstrip("-").isdecimal()])
    _check_vocabulary("stop_token_ids", sampling.stop_token_ids)
    allowed = sampling.allowed_token_ids
    if allowed is None:
        return
    if not allowed:
        raise bad_request("allowed_token_ids is not None and empty!", "allowed_token_ids", allowed)
    unknown = [token_id for token_id in allowed if not 0 <= token_id < VOCABULARY]
    if unknown:
        raise bad_request("allowed_token_ids contains out-of-vocab token id!", "allowed_token_ids", unknown)


def _check_vocabulary(name: str, token_ids: Sequence[int]) -> None:
    unknown = [token_id for token_id in token_ids if not 0 <= token_id < VOCABULARY]
    if unknown:
        raise bad_request(
            f"token_id(s) {unknown} in {name} contain out-of-vocab token ids. Vocabulary size: {VOCABULARY}",
            name,
            unknown,
        )
