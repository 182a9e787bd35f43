"""Read a chat or completions request: by type, then by vLLM's own checks, in the order of the real server.

Order (contract section 3): types of all fields, model, prompt, sampling. So a request that is wrong in two ways is
refused for the same reason as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mock_server.errors import ApiError, Problem, bad_request, invalid, unknown_model
from mock_server.fields import Fields
from mock_server.sampling import Sampling
from mock_server.tokens import LONGEST_TOKEN, Message, count_tokens, decode, render_chat

DEFAULT_COMPLETION_TOKENS = 16
MOST_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request is held against: the served model's name and its context length in tokens."""

    model: str
    max_model_len: int


@dataclass(slots=True)
class Prompt:
    """One prompt: the messages that the judge answers, and its length in tokens."""

    messages: list[Message]
    tokens: int


@dataclass(slots=True)
class CompletionRequest:
    """What both kinds of request come down to."""

    prompts: list[Prompt]
    sampling: Sampling
    stream: bool
    include_usage: bool
    continuous_usage: bool
    request_id: str | None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once whatever `n` is."""
        return sum(prompt.tokens for prompt in self.prompts)


def read_chat(body: dict[str, Any], limits: Limits) -> CompletionRequest:
    """A request for /v1/chat/completions. Raises ApiError."""
    fields = Fields(body)
    messages = _messages(fields)
    request = _typed(fields, limits)
    request.prompts = [_chat_prompt(messages, limits)]
    request.sampling.check(limits.max_model_len)
    return request


def read_completion(body: dict[str, Any], limits: Limits) -> CompletionRequest:
    """A request for /v1/completions. Raises ApiError."""
    fields = Fields(body)
    prompt = body.get("prompt")
    if prompt is not None and not isinstance(prompt, str | list):
        fields.reject("string_type", "prompt", "Input should be a valid string", prompt)
    request = _typed(fields, limits)
    if request.sampling.max_tokens is None:
        request.sampling.max_tokens = DEFAULT_COMPLETION_TOKENS
    request.prompts = _text_prompts(body, limits)
    request.sampling.check(limits.max_model_len)
    return request


def _typed(fields: Fields, limits: Limits) -> CompletionRequest:
    """All fields but the prompt, by type; then what is checked before the prompt is looked at."""
    model = fields.string("model")
    options = fields.mapping("stream_options")
    request = CompletionRequest(
        prompts=[],
        sampling=Sampling.read(fields),
        stream=fields.boolean("stream"),
        include_usage=bool(options and options.get("include_usage")),
        continuous_usage=bool(options and options.get("continuous_usage_stats")),
        request_id=fields.string("request_id"),
    )
    fields.check()
    if options is not None and not request.stream:
        raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")
    _check_logprobs(fields.values)
    if model and model != limits.model:
        raise unknown_model(model, limits.model)
    return request


def _check_logprobs(body: Mapping[str, Any]) -> None:
    most = body.get("top_logprobs")
    if most and not body.get("logprobs"):
        raise bad_request("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    if isinstance(most, int) and most > MOST_LOGPROBS:
        message = f"Requested sample logprobs of {most}, which is greater than max allowed: {MOST_LOGPROBS}"
        raise bad_request(message, "logprobs", most)


# --- chat ---


def _messages(fields: Fields) -> list[dict[str, Any]]:
    messages = fields.values.get("messages")
    if messages is None and "messages" not in fields.values:
        fields.missing("messages")
    elif not isinstance(messages, list):
        fields.reject("list_type", "messages", "Input should be a valid list", messages)
    else:
        for index, message in enumerate(messages):
            _check_message(fields, f"messages.{index}", message)
        return messages
    return []


def _check_message(fields: Fields, name: str, message: Any) -> None:
    if not isinstance(message, dict):
        problem = "Input should be a valid dictionary or object to extract fields from"
        fields.reject("model_attributes_type", name, problem, message)
        return
    if not isinstance(message.get("role"), str):
        fields.problems.append(Problem("missing", f"body.{name}.role", "Field required", message))
    content = message.get("content", "")
    # An assistant that only called tools has said nothing; anybody else's null is an error.
    if not isinstance(content, str | list) and not (content is None and message.get("role") == "assistant"):
        fields.reject("string_type", f"{name}.content", "Input should be a valid string", content)


def _chat_prompt(messages: list[dict[str, Any]], limits: Limits) -> Prompt:
    if not messages:
        raise bad_request("Cannot apply chat template to an empty conversation. Provide at least one message.")
    turns = [(message["role"], _text(message.get("content") or "", limits)) for message in messages]
    return Prompt(turns, _checked_length(render_chat(turns), limits))


def _text(content: str | list[Any], limits: Limits) -> str:
    """The text of a message; of one in parts, their texts on lines of their own."""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(content):
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(text)
        elif isinstance(part, dict) and str(part.get("type", "")).startswith(
            ("image", "video", "audio", "input_audio")
        ):
            raise bad_request(f"{limits.model} is not a multimodal model")
        else:
            raise invalid([Problem("missing", f"body.messages.content.{index}.text", "Field required", part)])
    return "\n".join(texts)


# --- completions ---


def _text_prompts(body: dict[str, Any], limits: Limits) -> list[Prompt]:
    if body.get("suffix"):
        raise ApiError(
            400, "BadRequestError", "suffix is only supported for models with FIM completion rendering", "suffix"
        )
    given = body.get("prompt")
    if not given:
        raise bad_request("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    several = isinstance(given, list) and not isinstance(given[0], int)
    return [_text_prompt(prompt, limits) for prompt in (given if several else [given])]


def _text_prompt(prompt: Any, limits: Limits) -> Prompt:
    if isinstance(prompt, list) and all(type(token) is int for token in prompt):
        text, tokens = decode(prompt), _checked_tokens(len(prompt), limits)
    elif isinstance(prompt, str):
        text, tokens = prompt, _checked_length(prompt, limits)
    else:
        raise invalid([Problem("string_type", "body.prompt", "Input should be a valid string", prompt)])
    # The same text gives the same answer by either endpoint.
    return Prompt([("user", text)], tokens)


# --- length ---


def _checked_length(text: str, limits: Limits) -> int:
    """Tokens of `text`, which the model must have room for."""
    most = limits.max_model_len * LONGEST_TOKEN
    if len(text) > most:
        raise bad_request(
            f"This model's maximum context length is {limits.max_model_len} tokens. However, your prompt contains "
            f"{len(text)} characters (more than {most} characters, which is the upper bound for "
            f"{limits.max_model_len} input tokens). Please reduce the length of the input prompt.",
            "input_text",
            len(text),
        )
    try:
        return _checked_tokens(count_tokens(text), limits)
    except UnicodeEncodeError:
        message = "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]"
        raise bad_request(message) from None


def _checked_tokens(tokens: int, limits: Limits) -> int:
    if tokens > limits.max_model_len:
        # The real server stops counting one token past the limit.
        counted = limits.max_model_len + 1
        raise bad_request(
            f"This model's maximum context length is {limits.max_model_len} tokens. However, your prompt contains at "
            f"least {counted} input tokens, which exceeds this limit even without any output tokens. Please reduce "
            "the length of the input prompt.",
            "input_tokens",
            counted,
        )
    return tokens
