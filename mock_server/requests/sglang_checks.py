"""What SGLang refuses of a request whose types are right, once it looks at it: after a pause, if there is one.

First lengths (managers/tokenizer_manager.py), then ranges (sampling/sampling_params.py), then the grammar, which only
the scheduler compiles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from mock_server.errors import ApiError, Problem, bad_request, invalid
from mock_server.requests.reading import Prompt
from mock_server.requests.sampling import Sampling
from mock_server.requests.structured import Constraint
from mock_server.tokens import VOCABULARY

FORMATS = ("text", "json_object", "json_schema", "structural_tag")


class GrammarError(ApiError):
    """The scheduler cannot compile what the answer is to be bound to."""

    in_stream = True

    def __init__(self, constraint: Constraint, reason: str) -> None:
        super().__init__(400, "BadRequestError", f"Failed to compile {constraint.kind} grammar: {reason}")


def refusal(prompts: list[Prompt], sampling: Sampling, most: int) -> ApiError | None:
    """Why the request is refused, if it is; `most` is the context length in tokens."""
    try:
        for prompt in prompts:
            _check_length(prompt.tokens, sampling.max_tokens, most)
        _check_ranges(sampling)
        _check_tokens(sampling)
        _check_grammar(sampling.constraint)
    except ApiError as error:
        return error
    if sampling.n == 0:
        # It stumbles over that only when it counts the tokens of the answer.
        return ApiError(400, "BadRequest", "range() arg 3 must not be zero")
    return None


def _check_length(tokens: int, output: int | None, most: int) -> None:
    if tokens >= most:
        raise bad_request(f"The input ({tokens} tokens) is longer than the model's context length ({most} tokens).")
    if output is not None and tokens + output > most:
        raise bad_request(
            f"Requested token count exceeds the model's maximum context length of {most} tokens. You requested a total "
            f"of {tokens + output} tokens: {tokens} tokens from the input messages and {output} tokens for the "
            "completion. Please reduce the number of tokens in the input messages or the completion to fit within the "
            "limit."
        )


def _check_ranges(sampling: Sampling) -> None:
    value = 1.0 if sampling.temperature is None else sampling.temperature
    if not math.isfinite(value) or value < 0:
        raise bad_request(f"temperature must be a non-negative finite number, got {value}.")
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        raise bad_request(f"top_p must be in (0, 1], got {sampling.top_p}.")
    if sampling.min_p is not None and not 0 <= sampling.min_p <= 1:
        raise bad_request(f"min_p must be in [0, 1], got {sampling.min_p}.")
    # At temperature 0 it is 1, whatever it was.
    if value and sampling.top_k is not None and sampling.top_k != -1 and sampling.top_k < 1:
        raise bad_request(f"top_k must be -1 (disable) or at least 1, got {sampling.top_k}.")
    for name in ("frequency_penalty", "presence_penalty"):
        value = getattr(sampling, name) or 0.0
        if not -2 <= value <= 2:
            raise bad_request(f"{name} must be in [-2, 2], got {value}.")
    value = 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty
    if not 0 < value <= 2:
        raise bad_request(f"repetition_penalty must be in (0, 2] (1.0 = no penalty), got {value}.")


def _check_tokens(sampling: Sampling) -> None:
    least, most = sampling.min_tokens, sampling.max_tokens
    if least < 0:
        raise bad_request(f"min_new_tokens must be in [0, max_new_tokens], got {least}.")
    if most is not None and most < 0:
        raise bad_request(f"max_new_tokens must be at least 0, got {most}.")
    if most is not None and least > most:
        raise bad_request(f"min_new_tokens must be in [0, max_new_tokens({most})], got {least}.")
    for name in sampling.logit_bias or ():
        if not name.lstrip("-").isdecimal() or not 0 <= int(name) < VOCABULARY:
            raise bad_request(f"logit_bias must has keys in [0, {VOCABULARY - 1}], got {name}.")


def _check_grammar(constraint: Constraint | None) -> None:
    if constraint is None:
        return
    if constraint.kind == "several":
        raise bad_request("Only one of json_schema, regex, ebnf, or structural_tag can be set.")
    if constraint.kind in ("ebnf", "structural_tag"):
        raise GrammarError(constraint, "the mock follows no such grammars.")
    try:
        constraint.check()
    except ApiError as error:
        raise GrammarError(constraint, error.message) from None


def read_constraint(values: Mapping[str, Any], names: tuple[str, ...]) -> Constraint | None:
    """The one of `names` or of `response_format` that is given; of several kinds, none that could be kept.

    Raises ApiError (400) for a response_format that is none.
    """
    found = [Constraint("json" if name == "json_schema" else name, values[name]) for name in names if values.get(name)]
    formatted = _of_response_format(values.get("response_format"))
    found += [formatted] if formatted else []
    return Constraint("several", found) if len(found) > 1 else next(iter(found), None)


def _of_response_format(given: Any) -> Constraint | None:
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in FORMATS:
        raise invalid(_no_format(given, kind))
    if kind == "json_schema":
        schema = (given.get("json_schema") or {}).get("schema") or given.get("schema")
        if schema is None:
            raise bad_request("schema_ is required for json_schema response format request.")
        return Constraint("json", json.dumps(schema))
    if kind == "structural_tag":
        return Constraint("structural_tag", given)
    return Constraint("json_object", True) if kind == "json_object" else None


def _no_format(given: Any, kind: Any) -> list[Problem]:
    """The complaints of the three models that it is tried as."""
    place = "body.response_format"
    plain, tag = "'text', 'json_object' or 'json_schema'", "'structural_tag'"
    needed = {"LegacyStructuralTagResponseFormat": ("structures", "triggers"), "StructuralTag": ("format",)}
    if not isinstance(given, dict):
        words = "Input should be a valid dictionary or object to extract fields from"
        return [
            Problem("model_attributes_type", f"{place}.{name}", words, given) for name in ("ResponseFormat", *needed)
        ]
    words = f"Input should be {plain}"
    problems = [Problem("literal_error", f"{place}.ResponseFormat.type", words, kind, {"expected": plain})]
    for model, fields in needed.items():
        words = f"Input should be {tag}"
        problems.append(Problem("literal_error", f"{place}.{model}.type", words, kind, {"expected": tag}))
        problems += [Problem("missing", f"{place}.{model}.{name}", "Field required", given) for name in fields]
    return problems
