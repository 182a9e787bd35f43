"""What vLLM checks in a raw body before it looks at the types of its fields, in its order (contract section 3).

A request that is wrong in two ways is refused for the same reason as there. Source: the "before" validators of
entrypoints/openai/{chat_completion,completion}/protocol.py of vLLM 0.32.0; the one that is written last runs first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mock_server.errors import bad_request

Body = Mapping[str, Any]

MOST_PROMPTS = 1024
_ONE_KIND = "You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice')."
_TOOL_USAGE = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'


def check_chat(body: Body) -> None:
    """Raises ApiError (400) for a chat request that contradicts itself."""
    messages = body.get("messages", ())
    if messages is None or isinstance(messages, int | float):
        # A validator looks for system messages before any type is checked.
        raise bad_request(f"'{type(messages).__name__}' object is not iterable")
    check_generation_prompt(body)
    _check_tools(body)
    _check_structured_outputs(body, None)
    _check_logprobs(body, "top_logprobs")
    most = body.get("top_logprobs")
    if most is not None and (most == -1 or most > 0) and not body.get("logprobs"):
        raise bad_request("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    _check_stream_options(body)
    _check_response_format(body)
    _check_cache_salt(body)


def check_completion(body: Body) -> None:
    """Raises ApiError (400) for a completions request that contradicts itself."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) > MOST_PROMPTS and not all(type(item) is int for item in prompt):
        raise bad_request(
            f"prompt list length {len(prompt)} exceeds the maximum allowed count of {MOST_PROMPTS}. To increase this "
            "limit, set the VLLM_MAX_COMPLETION_PROMPTS environment variable.",
            "prompt",
        )
    if prompt in (None, "") and not body.get("prompt_embeds"):
        raise bad_request("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    _check_stream_options(body)
    _check_logprobs(body, "logprobs")
    _check_structured_outputs(body, "structured_outputs")
    _check_response_format(body)
    _check_cache_salt(body)


def check_generation_prompt(body: Body) -> None:
    """Raises ApiError (400) if the body asks to continue a message and to begin one."""
    if body.get("continue_final_message") and body.get("add_generation_prompt"):
        raise bad_request("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")


def _check_logprobs(body: Body, name: str) -> None:
    for field in ("prompt_logprobs", name):
        value = body.get(field)
        if value is not None and not isinstance(value, int | float):
            raise bad_request(f"`{field}` must be an integer.", field, value)
    of_prompt = body.get("prompt_logprobs")
    if of_prompt is not None:
        if body.get("stream") and (of_prompt > 0 or of_prompt == -1):
            raise bad_request("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
        if of_prompt < 0 and of_prompt != -1:
            raise bad_request("`prompt_logprobs` must be a positive value or -1.", "prompt_logprobs", of_prompt)
    most = body.get(name)
    if most is not None and most < 0 and most != -1:
        raise bad_request(f"`{name}` must be a positive value or -1.", name, most)


def _check_stream_options(body: Body) -> None:
    if body.get("stream_options") and not body.get("stream"):
        raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")


def _check_structured_outputs(body: Body, parameter: str | None) -> None:
    given = body.get("structured_outputs")
    if not isinstance(given, dict):
        return
    kinds = sum(given.get(kind) is not None for kind in ("json", "regex", "choice"))
    if kinds > 1:
        raise bad_request(_ONE_KIND, parameter)
    if kinds and parameter is None and body.get("tool_choice", "none") not in ("none", "auto", "required"):
        raise bad_request("You can only either use constraints for structured outputs or tools, not both.")


def _check_response_format(body: Body) -> None:
    given = body.get("response_format")
    if isinstance(given, dict) and given.get("type") == "json_schema" and given.get("json_schema") is None:
        message = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        raise bad_request(message, "response_format")


def _check_cache_salt(body: Body) -> None:
    salt = body.get("cache_salt")
    if isinstance(salt, str) and not 0 < len(salt) <= 1024:
        message = "Parameter 'cache_salt' must be a non-empty string of at most 1024 characters if provided."
        raise bad_request(message, "cache_salt", salt)


def _check_tools(body: Body) -> None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools == []:
        raise bad_request(
            "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.", "tools"
        )
    if choice is None or choice == "none":
        return
    if tools is None:
        raise bad_request("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if choice not in ("auto", "required") and not isinstance(choice, dict):
        raise bad_request(
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.',
            "tool_choice",
        )
    if isinstance(choice, dict):
        _check_named_tool(choice, tools)


def _check_named_tool(choice: Body, tools: Any) -> None:
    function = choice.get("function")
    if not isinstance(function, dict):
        raise bad_request(
            f"Invalid value for `function`: `{function}` in `tool_choice`! {_TOOL_USAGE}", "tool_choice.function"
        )
    if "name" not in function:
        message = f"Expected field `name` in `function` in `tool_choice`! {_TOOL_USAGE}"
        raise bad_request(message, "tool_choice.function.name")
    names = [tool["function"].get("name") for tool in tools if isinstance(tool, dict) and "function" in tool]
    if function["name"] not in names:
        message = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        raise bad_request(message, "tool_choice")
