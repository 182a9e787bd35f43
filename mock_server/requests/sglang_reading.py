"""Read a request as SGLang does: types first (400 "Bad Request"), then what contradicts itself, lengths, ranges.

The model's name is not checked, fields that nobody knows are ignored, and of the values that are out of range the
first is named, in the order and words of sampling/sampling_params.py of SGLang 0.5.23.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from mock_server.errors import ApiError, Problem, bad_request, invalid
from mock_server.requests.fields import Fields
from mock_server.requests.lengths import Limits
from mock_server.requests.reading import CompletionRequest, Prompt
from mock_server.requests.sampling import Sampling
from mock_server.requests.sglang_fields import not_null, prompts_of, read_messages, text_of
from mock_server.requests.structured import Constraint
from mock_server.tokens import VOCABULARY, count_tokens, decode, render_chat

DEFAULT_MODEL = "default"
DEFAULT_COMPLETION_TOKENS = 16
DEFAULT_GENERATE_TOKENS = 128
_NUMBERS = ("frequency_penalty", "presence_penalty")
_BOOLEANS = ("stream", "ignore_eos", "no_stop_trim", "skip_special_tokens")


@dataclass(slots=True)
class SglangRequest(CompletionRequest):
    """What the three kinds of request come down to."""

    model: str = DEFAULT_MODEL
    """As the client names it; it is echoed."""
    batch: bool = False
    """/generate: the answer is a list, one item a prompt and sample."""
    ids: list[str] = field(default_factory=list)
    """/generate: the names of the requests of a batch, where the client gives them."""
    echoes: bool = False
    """Whether an answer in completions begins with its prompt."""
    logprob_texts: bool = True
    """Whether tokens in log probabilities come with their texts."""


def read_chat(body: dict[str, Any], limits: Limits) -> SglangRequest:
    """A request for /v1/chat/completions. Raises ApiError."""
    fields = Fields(body)
    not_null(fields, {"string": ("model",), "number": _NUMBERS, "integer": ("n", "min_tokens")})
    not_null(fields, {"boolean": (*_BOOLEANS, "logprobs", "continue_final_message")})
    messages = read_messages(fields)
    alternatives = fields.integer("top_logprobs")
    logprobs = fields.boolean("logprobs")
    continued = fields.boolean("continue_final_message")
    most = fields.integer("max_completion_tokens") or fields.integer("max_tokens")
    request = _typed(fields, most)
    if not messages:
        raise bad_request("Messages cannot be empty.")
    turns = [(message["role"], text_of(message.get("content"))) for message in messages]
    if most and most > limits.max_model_len:
        raise bad_request(
            f"max_completion_tokens is too large: {most}."
            f"This model supports at most {limits.max_model_len} completion tokens."
        )
    request.sampling.constraint = _chat_constraint(fields)
    if logprobs:
        request.sampling.logprobs = alternatives or 0
    continued = continued and turns[-1][0] == "assistant"
    text = render_chat(turns, add_generation_prompt=not continued, continue_final=continued)
    request.prompts = [Prompt(turns, _count(text), text)]
    _check(request, limits)
    return request


def read_completion(body: dict[str, Any], limits: Limits) -> SglangRequest:
    """A request for /v1/completions. Raises ApiError."""
    fields = Fields(body)
    not_null(fields, {"string": ("model",), "number": (*_NUMBERS, "temperature", "top_p", "min_p")})
    not_null(fields, {"integer": ("n", "max_tokens", "top_k", "min_tokens"), "boolean": (*_BOOLEANS, "echo")})
    given = body.get("prompt")
    prompts = prompts_of(given)
    if "prompt" not in body:
        fields.missing("prompt")
    elif prompts is None:
        fields.reject("string_type", "prompt.str", "Input should be a valid string", given)
    most = fields.integer("max_tokens")
    if most is not None and most <= 0:
        fields.reject("value_error", "max_tokens", "Value error, max_tokens must be positive", most)
    logprobs = fields.integer("logprobs")
    echoes = fields.boolean("echo")
    request = _typed(fields, DEFAULT_COMPLETION_TOKENS if most is None else most)
    if not prompts or not any(prompts):
        raise bad_request("Prompt cannot be empty")
    request.sampling.logprobs = logprobs
    request.sampling.constraint = _constraint(fields, fields.values, ("json_schema", "regex", "ebnf"))
    request.prompts = [_prompt(prompt) for prompt in prompts]
    request.echoes = echoes
    _check(request, limits)
    return request


def read_generate(body: dict[str, Any], limits: Limits) -> SglangRequest:
    """A request for /generate. Raises ApiError."""
    fields = Fields(body)
    stream = fields.boolean("stream")
    given = body.get("text") if body.get("text") is not None else body.get("input_ids")
    prompts = prompts_of(given)
    if prompts is None and given is not None:
        fields.reject("string_type", "text.str", "Input should be a valid string", given)
    raw = fields.values.get("sampling_params")
    if isinstance(raw, list):
        raw = raw[0] if raw else None
    if raw is not None and not isinstance(raw, dict):
        fields.reject("dict_type", "sampling_params", "Input should be a valid dictionary", raw)
    logprobs = body.get("return_logprob")
    top = body.get("top_logprobs_num") or 0
    fields.check()
    if prompts is None:
        raise bad_request("Either text, input_ids or input_embeds should be provided.")
    if not prompts:
        raise bad_request("input_ids cannot be empty.")
    inner = Fields(raw or {}, "sampling_params")
    most = inner.integer("max_new_tokens") if "max_new_tokens" in inner.values else DEFAULT_GENERATE_TOKENS
    sampling = _sampling(inner, most, seed="sampling_seed", least="min_new_tokens")
    inner.check()
    sampling.logprobs = (top if isinstance(top, int) else top[0]) if logprobs else None
    sampling.constraint = _constraint(inner, inner.values, ("json_schema", "regex", "ebnf"))
    rid = body.get("rid")
    request = SglangRequest(
        prompts=[_prompt(prompt) for prompt in prompts],
        sampling=sampling,
        stream=stream,
        include_usage=False,
        continuous_usage=False,
        request_id=rid if isinstance(rid, str) else None,
        batch=sampling.n > 1 or (isinstance(given, list) and type(given[0]) is not int),
        ids=rid if isinstance(rid, list) else [],
        logprob_texts=fields.boolean("return_text_in_logprobs"),
    )
    _check(request, limits)
    return request


def _typed(fields: Fields, most: int | None) -> SglangRequest:
    """The fields that chat and text completions share, by type. Raises ApiError (400) for what is wrong so far."""
    options = Fields(fields.mapping("stream_options") or {}, f"{fields.place}.stream_options")
    rid = fields.values.get("rid")
    request = SglangRequest(
        prompts=[],
        sampling=_sampling(fields, most),
        stream=fields.boolean("stream"),
        include_usage=options.boolean("include_usage"),
        continuous_usage=options.boolean("continuous_usage_stats"),
        request_id=rid if isinstance(rid, str) else None,
        return_token_ids=fields.boolean("return_token_ids"),
        model=fields.string("model") or DEFAULT_MODEL,
    )
    fields.problems += options.problems
    fields.check()
    return request


def _sampling(fields: Fields, most: int | None, seed: str = "seed", least: str = "min_tokens") -> Sampling:
    n = fields.integer("n")
    return Sampling(
        n=1 if n is None else n,
        temperature=fields.number("temperature"),
        seed=fields.integer(seed),
        max_tokens=most,
        stop=fields.strings("stop"),
        include_stop=fields.boolean("no_stop_trim"),
        ignore_eos=fields.boolean("ignore_eos"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        repetition_penalty=fields.number("repetition_penalty"),
        min_p=fields.number("min_p"),
        min_tokens=fields.integer(least) or 0,
        stop_token_ids=fields.integers("stop_token_ids") or (),
        logit_bias=fields.dictionary("logit_bias"),
    )


# --- prompts ---


def _prompt(given: str | list[int]) -> Prompt:
    if isinstance(given, list):
        text = decode(given)
        return Prompt([("user", text)], len(given), text)
    return Prompt([("user", given)], _count(given), given)


def _count(text: str) -> int:
    try:
        return count_tokens(text)
    except UnicodeEncodeError as error:
        raise ApiError(400, "BadRequest", str(error)) from None


# --- what the answer is bound to ---


def _chat_constraint(fields: Fields) -> Constraint | None:
    return _constraint(fields, fields.values, ("regex", "ebnf"))


def _constraint(fields: Fields, values: Any, names: tuple[str, ...]) -> Constraint | None:
    """The one of `names` or of `response_format` that is given. Raises ApiError (400) for several."""
    found = [Constraint("json" if name == "json_schema" else name, values[name]) for name in names if values.get(name)]
    formatted = _of_response_format(fields)
    if formatted:
        found.append(formatted)
    if len(found) > 1:
        raise bad_request("Only one of json_schema, regex, ebnf, or structural_tag can be set.")
    if not found:
        return None
    constraint = found[0]
    if constraint.kind in ("ebnf", "structural_tag"):
        raise bad_request(f"Failed to compile {constraint.kind} grammar: the mock follows no such grammars.")
    try:
        constraint.check()
    except ApiError as error:
        raise bad_request(f"Failed to compile {constraint.kind} grammar: {error.message}") from None
    return constraint


def _of_response_format(fields: Fields) -> Constraint | None:
    given = fields.values.get("response_format")
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind not in ("text", "json_object", "json_schema", "structural_tag"):
        expected = "'text', 'json_object' or 'json_schema'"
        problem = Problem(
            "literal_error", "body.response_format.type", f"Input should be {expected}", kind, {"expected": expected}
        )
        raise invalid([problem])
    if kind == "json_schema":
        schema = (given.get("json_schema") or {}).get("schema") or given.get("schema")
        if schema is None:
            raise bad_request("schema_ is required for json_schema response format request.")
        return Constraint("json", json.dumps(schema))
    return {"json_object": Constraint("json_object", True), "structural_tag": Constraint("structural_tag", given)}.get(
        kind
    )


# --- lengths and ranges ---


def _check(request: SglangRequest, limits: Limits) -> None:
    sampling = request.sampling
    if sampling.n == 0:
        raise ApiError(400, "BadRequest", "range() arg 3 must not be zero")
    sampling.n = max(sampling.n, 1)
    for prompt in request.prompts:
        _check_length(prompt.tokens, sampling.max_tokens, limits.max_model_len)
    _check_ranges(sampling)


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
    if sampling.top_k is not None and sampling.top_k != -1 and sampling.top_k < 1:
        raise bad_request(f"top_k must be -1 (disable) or at least 1, got {sampling.top_k}.")
    for name in ("frequency_penalty", "presence_penalty"):
        value = getattr(sampling, name) or 0.0
        if not -2 <= value <= 2:
            raise bad_request(f"{name} must be in [-2, 2], got {value}.")
    value = 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty
    if not 0 < value <= 2:
        raise bad_request(f"repetition_penalty must be in (0, 2] (1.0 = no penalty), got {value}.")
    _check_tokens(sampling)


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
