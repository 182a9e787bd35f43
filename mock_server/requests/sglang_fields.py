"""What SGLang's requests are made of, by type: chat messages, prompts in texts or tokens, fields never null."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mock_server.errors import bad_request
from mock_server.requests.fields import Fields

_ROLES = ("system", "assistant", "tool", "function", "developer", "latest_reminder", "root")
"""The roles besides the user's, in any case."""
_MEDIA = ("image_url", "video_url", "audio_url", "input_audio")
_PARTS = ("text", "thinking", "reasoning", "tool_reference", *_MEDIA)


def not_null(fields: Fields, kinds: dict[str, Iterable[str]]) -> None:
    """Note the fields that are there and null, of those that may only be left out; `kinds`: their names by type."""
    for kind, names in kinds.items():
        words = {"integer": "a valid integer", "number": "a valid number", "boolean": "a valid boolean"}
        for name in names:
            if name in fields.values and fields.values[name] is None:
                code = {"integer": "int_type", "number": "float_type", "boolean": "bool_type"}.get(kind, "string_type")
                fields.reject(code, name, f"Input should be {words.get(kind, 'a valid string')}", None)


def read_messages(fields: Fields) -> list[dict[str, Any]]:
    """The field `messages`, its roles in lower case. What is wrong is noted in `fields`."""
    messages = fields.values.get("messages")
    if "messages" not in fields.values:
        fields.missing("messages")
    elif not isinstance(messages, list):
        fields.reject("list_type", "messages", "Input should be a valid list", messages)
    else:
        return [_message(fields, f"messages.{index}", message) for index, message in enumerate(messages)]
    return []


def _message(fields: Fields, place: str, message: Any) -> dict[str, Any]:
    """One message; it is tried as two models, and a wrong one is said to be none of both."""
    generic, user = f"{place}.ChatCompletionMessageGenericParam", f"{place}.ChatCompletionMessageUserParam"
    if not isinstance(message, dict):
        for model in (generic, user):
            words = "Input should be a valid dictionary or object to extract fields from"
            fields.reject("model_attributes_type", model, words, message)
        return {}
    role = message.get("role")
    if role == "user":
        if "content" in message:
            _content(fields, f"{user}.content", message["content"])
        else:
            fields.reject("missing", f"{user}.content", "Field required", message)
    elif isinstance(role, str) and role.lower() in _ROLES:
        if message.get("content") is not None:
            _content(fields, f"{generic}.content", message["content"])
    elif "role" not in message:
        for model in (generic, user):
            fields.reject("missing", f"{model}.role", "Field required", message)
    else:
        words = f"'role' must be one of {', '.join(map(repr, _ROLES))} (case-insensitive)."
        words = words if isinstance(role, str) else "'role' must be a string"
        fields.reject("value_error", f"{generic}.role", f"Value error, {words}", role)
        fields.reject("literal_error", f"{user}.role", "Input should be 'user'", role, {"expected": "'user'"})
    return {**message, "role": str(role).lower()}


def _content(fields: Fields, place: str, content: Any) -> None:
    if isinstance(content, list):
        for index, part in enumerate(content):
            _part(fields, f"{place}.list.{index}", part)
    elif not isinstance(content, str):
        fields.reject("string_type", f"{place}.str", "Input should be a valid string", content)
        fields.reject("list_type", f"{place}.list", "Input should be a valid list", content)


def _part(fields: Fields, place: str, part: Any) -> None:
    if not isinstance(part, dict):
        words = "Input should be a valid dictionary or object to extract fields from"
        fields.reject("model_attributes_type", place, words, part)
    elif part.get("type") not in _PARTS:
        fields.reject(
            "literal_error", f"{place}.type", "Input should be 'text'", part.get("type"), {"expected": "'text'"}
        )
    elif part["type"] == "text" and not isinstance(part.get("text"), str):
        fields.reject("string_type", f"{place}.text", "Input should be a valid string", part.get("text"))


def text_of(content: Any) -> str:
    """The text of a message; of one in parts, their texts with blanks between. Raises ApiError (400) for pictures."""
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part["type"] in _MEDIA:
            kind = part["type"]
            raise bad_request(f"Model only supports text input; received unsupported content type '{kind}'.")
    return " ".join(part["text"] for part in content if part["type"] == "text")


RawPrompts = list[str] | list[list[int]]


def prompts_of(given: Any) -> RawPrompts | None:
    """One prompt or several, each a text or token ids, as a list; None for anything else."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        return None
    if given and _are_tokens(given):
        return [given]
    if all(isinstance(item, str) for item in given):
        return [*given]
    return [*given] if all(isinstance(item, list) and _are_tokens(item) for item in given) else None


def _are_tokens(items: list[Any]) -> bool:
    return all(type(item) is int for item in items)
