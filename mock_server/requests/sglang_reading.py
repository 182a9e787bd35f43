"""Read a chat or completions request as SGLang does: types first (400 "Bad Request"), then what contradicts itself.

The model's name is not checked, and fields that nobody knows are ignored. What is out of range is found out here and
refused later (`late`): the real server looks at it only when it is not paused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mock_server.errors import ApiError, Problem, UnhandledError, bad_request, invalid
from mock_server.requests.fields import Fields
from mock_server.requests.lengths import Limits
from mock_server.requests.reading import CompletionRequest, Prompt
from mock_server.requests.sampling import Sampling
from mock_server.requests.sglang_checks import read_constraint, refusal
from mock_server.requests.sglang_fields import not_null, read_messages, read_prompts, stops, text_of
from mock_server.tokens import count_tokens, decode, render_chat

DEFAULT_MODEL = "default"
DEFAULT_COMPLETION_TOKENS = 16
_NUMBERS = ("frequency_penalty", "presence_penalty")
_BOOLEANS = ("stream", "ignore_eos", "no_stop_trim", "skip_special_tokens")


@dataclass(slots=True)
class SglangRequest(CompletionRequest):
    """What the three kinds of request come down to."""

    model: str = DEFAULT_MODEL
    """As the client names it; it is echoed."""
    late: ApiError | None = None
    """Why it is refused, once somebody looks at it."""
    batch: bool = False
    """/generate: the answer is a list, one item a prompt and sample."""
    ids: list[str] = field(default_factory=list)
    """/generate: the names of the requests of a batch, where the client gives them."""
    reports_cache: bool = False
    """Whether its usage says how much of its prompts was in the cache: that is not the client's to ask for."""
    weight_version: str = "default"
    """What the weights are called that answer it."""
    echoes: bool = False
    """Whether an answer in completions begins with its prompt."""
    logprob_texts: bool = True
    """Whether tokens in log probabilities come with their texts."""
    logprobs_from: int = -1
    """/generate: the token of the prompt from which on log probabilities are given; -1: none of them."""


def read_chat(body: Any, limits: Limits) -> SglangRequest:
    """A request for /v1/chat/completions. Raises ApiError, and UnhandledError for what is no object."""
    if not isinstance(body, dict):
        raise UnhandledError
    # A validator puts this in before anything is looked at, so that errors show it.
    body = body if body.get("tool_choice") else {**body, "tool_choice": "auto" if body.get("tools") else "none"}
    fields = Fields(body)
    messages = read_messages(fields)
    not_null(fields, "string", ["model"])
    not_null(fields, "number", _NUMBERS)
    not_null(fields, "integer", ["n", "min_tokens"])
    not_null(fields, "boolean", [*_BOOLEANS, "logprobs", "continue_final_message"])
    logprobs, alternatives = fields.boolean("logprobs"), fields.integer("top_logprobs")
    most = fields.integer("max_tokens")
    most = fields.integer("max_completion_tokens") or most
    continued = fields.boolean("continue_final_message")
    request = _typed(fields, most, ("regex", "ebnf"))
    _check_chat(body, messages, most, limits)
    request.sampling.logprobs = (alternatives or 0) if logprobs else None
    turns = [(message["role"], text_of(message.get("content"))) for message in messages]
    if turns[-1][0] == "assistant" and not continued:
        # The last word is always the user's.
        turns[-1] = ("user", turns[-1][1])
    continued = continued and turns[-1][0] == "assistant"
    text = render_chat(turns, not continued, continued, roles={})
    return _with_prompts(request, [Prompt(turns, _count(text), text)], limits)


def _check_chat(body: dict[str, Any], messages: list[dict[str, Any]], most: int | None, limits: Limits) -> None:
    if not messages:
        raise bad_request("Messages cannot be empty.")
    for message in messages:
        text_of(message.get("content"))
    if body["tool_choice"] == "required" and not body.get("tools"):
        raise bad_request("Tools cannot be empty if tool choice is set to required.")
    if most and most > limits.max_model_len:
        raise bad_request(
            f"max_completion_tokens is too large: {most}."
            f"This model supports at most {limits.max_model_len} completion tokens."
        )


def read_completion(body: Any, limits: Limits) -> SglangRequest:
    """A request for /v1/completions. Raises ApiError."""
    if not isinstance(body, dict):
        words = "Input should be a valid dictionary or object to extract fields from"
        raise invalid([Problem("model_attributes_type", "body", words, body)])
    fields = Fields(body)
    prompts = read_prompts(fields)
    not_null(fields, "string", ["model"])
    not_null(fields, "number", [*_NUMBERS, "temperature", "top_p", "min_p"])
    not_null(fields, "integer", ["n", "max_tokens", "top_k", "min_tokens"])
    not_null(fields, "boolean", [*_BOOLEANS, "echo"])
    most = fields.integer("max_tokens")
    if most is not None and most <= 0:
        words = "max_tokens must be positive"
        fields.reject("value_error", "max_tokens", f"Value error, {words}", most, {"error": ValueError(words)})
    logprobs = fields.integer("logprobs")
    echoes = fields.boolean("echo")
    names = ("json_schema", "regex", "ebnf")
    request = _typed(fields, DEFAULT_COMPLETION_TOKENS if most is None else most, names)
    if not any(prompts):
        raise bad_request("Prompt cannot be empty")
    request.sampling.logprobs = logprobs
    request.echoes = echoes
    return _with_prompts(request, [plain_prompt(prompt) for prompt in prompts], limits)


def _typed(fields: Fields, most: int | None, constraints: tuple[str, ...]) -> SglangRequest:
    """The fields that both share, by type. Raises ApiError (400) for what is wrong so far."""
    options = Fields(fields.mapping("stream_options") or {}, f"{fields.place}.stream_options")
    model, rid = fields.string("model"), fields.values.get("rid")
    request = SglangRequest(
        prompts=[],
        sampling=_sampling(fields, most),
        stream=fields.boolean("stream"),
        include_usage=options.boolean("include_usage"),
        continuous_usage=options.boolean("continuous_usage_stats"),
        request_id=rid if isinstance(rid, str) else None,
        return_token_ids=fields.boolean("return_token_ids"),
        model=DEFAULT_MODEL if model is None else model,
    )
    fields.problems += options.problems
    fields.check()
    request.sampling.constraint = read_constraint(fields.values, constraints)
    if isinstance(rid, list):
        raise ApiError(500, "InternalServerError", "Internal server error: unhashable type: 'list'")
    return request


def _sampling(fields: Fields, most: int | None) -> Sampling:
    n = fields.integer("n")
    return Sampling(
        n=1 if n is None else n,
        temperature=fields.number("temperature"),
        seed=fields.integer("seed"),
        max_tokens=most,
        stop=stops(fields),
        include_stop=fields.boolean("no_stop_trim"),
        ignore_eos=fields.boolean("ignore_eos"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        repetition_penalty=fields.number("repetition_penalty"),
        min_p=fields.number("min_p"),
        min_tokens=fields.integer("min_tokens") or 0,
        stop_token_ids=fields.integers("stop_token_ids") or (),
        logit_bias=fields.dictionary("logit_bias"),
        stops_grammars=True,
    )


def _with_prompts(request: SglangRequest, prompts: list[Prompt], limits: Limits) -> SglangRequest:
    request.prompts = prompts
    request.late = refusal(prompts, request.sampling, limits.max_model_len)
    request.sampling.n = max(request.sampling.n, 1)
    return request


def plain_prompt(given: str | list[int]) -> Prompt:
    """A prompt that is not made of messages. The judge reads it as if the user had said it."""
    if isinstance(given, list):
        text = decode(given)
        return Prompt([("user", text)], len(given), text)
    return Prompt([("user", given)], _count(given), given)


def _count(text: str) -> int:
    try:
        return count_tokens(text)
    except UnicodeEncodeError as error:
        raise ApiError(400, "BadRequest", str(error)) from None
