"""Read a chat or completions request: by contradictions, by type, then by vLLM's own checks, in the real order.

Order (contract section 3): prechecks, types of all fields, model, prompt, sampling. So a request that is wrong in two
ways is refused for the same reason as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mock_server.errors import ApiError, bad_request, unknown_model
from mock_server.requests import prechecks, sampling_checks
from mock_server.requests.chat_messages import read_messages
from mock_server.requests.completion_prompts import RawPrompt, read_prompts
from mock_server.requests.content_parts import text_of
from mock_server.requests.fields import Fields
from mock_server.requests.lengths import Limits, check_text, check_tokens
from mock_server.requests.sampling import Sampling
from mock_server.requests.structured import with_guided_fields
from mock_server.tokens import Message, decode, encode, render_chat

__all__ = ["CompletionRequest", "Limits", "Prompt", "check_model", "read_chat", "read_chat_prompt", "read_completion"]

DEFAULT_COMPLETION_TOKENS = 16
_CONTINUE_OR_BEGIN = (
    "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you want the "
    "model to continue the final message, and add_generation_prompt when you want to add a header that will prompt it "
    "to start a new assistant message instead."
)


@dataclass(slots=True)
class Prompt:
    """One prompt: the messages that the judge answers, its length in tokens, and the text that the model reads."""

    messages: list[Message]
    tokens: int
    text: str = ""

    @property
    def token_ids(self) -> list[int]:
        """The prompt in tokens."""
        return encode(self.text)


@dataclass(slots=True)
class CompletionRequest:
    """What both kinds of request come down to."""

    prompts: list[Prompt]
    sampling: Sampling
    stream: bool
    include_usage: bool
    continuous_usage: bool
    request_id: str | None
    return_token_ids: bool = False
    tokens_as_ids: bool = False
    """Tokens in log probabilities are spelt `token_id:51`."""
    return_prompt_text: bool = False
    echo: str = ""
    """What an answer in completions begins with when it repeats the prompt."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once whatever `n` is."""
        return sum(prompt.tokens for prompt in self.prompts)

    @property
    def by_token(self) -> bool:
        """Whether the client sees single tokens, so that each has a chunk of its own."""
        return self.return_token_ids or self.sampling.logprobs is not None


def read_chat(body: dict[str, Any], limits: Limits) -> CompletionRequest:
    """A request for /v1/chat/completions. Raises ApiError."""
    body = with_guided_fields(body) if limits.profile.guided_fields else body
    prechecks.check_chat(body)
    fields = Fields(body)
    messages = read_messages(fields)
    alternatives = fields.integer("top_logprobs") or 0
    logprobs = fields.boolean("logprobs")
    request = _typed(fields, limits)
    if logprobs:
        request.sampling.logprobs = alternatives
    turns, text = _rendered(fields, messages, limits)
    if not limits.profile.clamps_output:
        sampling_checks.check_max_tokens(request.sampling, limits)
    request.prompts = [Prompt(turns, check_text(text, limits, request.sampling.max_tokens), text)]
    sampling_checks.check(request.sampling, limits)
    return request


def read_completion(body: dict[str, Any], limits: Limits) -> CompletionRequest:
    """A request for /v1/completions. Raises ApiError."""
    body = with_guided_fields(body) if limits.profile.guided_fields else body
    prechecks.check_completion(body)
    fields = Fields(body)
    prompts = read_prompts(fields)
    logprobs = fields.integer("logprobs")
    echo = fields.boolean("echo")
    request = _typed(fields, limits)
    sampling = request.sampling
    sampling.logprobs = logprobs
    if sampling.max_tokens is None:
        sampling.max_tokens = DEFAULT_COMPLETION_TOKENS
    request.prompts = _text_prompts(body, prompts, limits, sampling.max_tokens)
    if echo:
        request.echo = request.prompts[0].text
        # Nothing but the prompt is asked for; the engine says one token all the same.
        sampling.max_tokens = sampling.max_tokens or 1
    sampling_checks.check(sampling, limits)
    return request


def read_chat_prompt(fields: Fields, limits: Limits) -> str:
    """The text that the model would read of a chat, however long. For /tokenize. Raises ApiError."""
    prechecks.check_generation_prompt(fields.values)
    messages = read_messages(fields)
    fields.check()
    return _rendered(fields, messages, limits)[1]


def check_model(model: str | None, limits: Limits) -> None:
    """Raises ApiError (404) if another model is asked for than the one that is served."""
    if model and model != limits.model:
        raise unknown_model(model, limits.model if limits.profile.names_aliases else None)


def _typed(fields: Fields, limits: Limits) -> CompletionRequest:
    """All fields but the prompt, by type; then what is checked before the prompt is looked at."""
    model = fields.string("model")
    sampling = Sampling.read(fields)
    stream = fields.boolean("stream")
    options = Fields(fields.mapping("stream_options") or {}, f"{fields.place}.stream_options")
    request = CompletionRequest(
        prompts=[],
        sampling=sampling,
        stream=stream,
        include_usage=options.boolean("include_usage"),
        continuous_usage=options.boolean("continuous_usage_stats"),
        request_id=fields.string("request_id"),
        return_token_ids=fields.boolean("return_token_ids"),
        tokens_as_ids=fields.boolean("return_tokens_as_token_ids"),
        return_prompt_text=fields.boolean("return_prompt_text"),
    )
    fields.problems += options.problems
    fields.check()
    check_model(model, limits)
    return request


# --- chat ---


def _rendered(fields: Fields, messages: list[dict[str, Any]], limits: Limits) -> tuple[list[Message], str]:
    if not messages:
        raise bad_request("Cannot apply chat template to an empty conversation. Provide at least one message.")
    values = fields.values
    if values.get("chat_template"):
        raise bad_request(
            "Chat template is passed with request, but --trust-request-chat-template is not set. "
            "Refused request with untrusted chat template."
        )
    begin = fields.boolean("add_generation_prompt", default=True)
    continued = fields.boolean("continue_final_message")
    if begin and continued:
        raise bad_request(_CONTINUE_OR_BEGIN)
    turns = [
        (message["role"], text_of(message.get("content") or "", message["role"], limits.model)) for message in messages
    ]
    return turns, render_chat(turns, begin, continued)


# --- completions ---


def _text_prompts(body: dict[str, Any], prompts: list[RawPrompt], limits: Limits, output: int | None) -> list[Prompt]:
    if body.get("suffix"):
        raise ApiError(400, "BadRequestError", *limits.profile.suffix_refused)
    if not body.get("prompt"):
        raise bad_request("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    return [_text_prompt(prompt, limits, output) for prompt in prompts]


def _text_prompt(prompt: RawPrompt, limits: Limits, output: int | None) -> Prompt:
    if isinstance(prompt, list):
        text, tokens = decode(prompt), check_tokens(len(prompt), limits, output)
    else:
        text, tokens = prompt, check_text(prompt, limits, output)
    # The same text gives the same answer by either endpoint.
    return Prompt([("user", text)], tokens, text)
