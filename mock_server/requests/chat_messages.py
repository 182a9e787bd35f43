"""Chat messages by type: which are accepted, and what the real server's union of eight models says of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mock_server.errors import Problem
from mock_server.requests.fields import Fields

_STRING = ("string_type", "Input should be a valid string")
_ITERABLE = ("iterable_type", "Input should be iterable")
_LIST = ("list_type", "Input should be a valid list")
_COMPLAINTS = {
    "parts": (_STRING, _ITERABLE),
    "nullable_parts": (_STRING, _ITERABLE),
    "text": (_STRING,),
    "nullable_text": (_STRING,),
    "listed": (_STRING, _LIST),
    "list": (_LIST,),
}
_models: list[dict[str, Any]] = []


def read_messages(fields: Fields) -> list[dict[str, Any]]:
    """The field `messages`, each of them an object with a role. What is wrong is noted in `fields`."""
    messages = fields.values.get("messages")
    if messages is None and "messages" not in fields.values:
        fields.missing("messages")
    elif not isinstance(messages, list):
        fields.reject("list_type", "messages", "Input should be a valid list", messages)
    else:
        for index, message in enumerate(messages):
            if not _is_plain(message):
                fields.problems += _complaints(f"{fields.place}.messages.{index}", message)
        return messages
    return []


def _is_plain(message: Any) -> bool:
    """What nearly every message is: a role, and a text or parts. One without content says nothing."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content = message.get("content", "")
    # An assistant that only called tools has said nothing; anybody else's null is an error.
    return isinstance(content, str | list) or (content is None and message["role"] == "assistant")


def _complaints(place: str, message: Any) -> list[Problem]:
    """What all models say, or nothing if one of them takes the message."""
    if not _models:
        _models.extend(yaml.safe_load(Path(__file__).with_name("chat_messages.yaml").read_text(encoding="utf-8")))
    problems: list[Problem] = []
    for model in _models:
        name = f"{place}.{model['model']}"
        if not isinstance(message, dict):
            kind = "model_attributes_type" if model.get("attributes") else "dict_type"
            words = "Input should be a valid dictionary"
            words += " or object to extract fields from" if model.get("attributes") else ""
            problems.append(Problem(kind, name, words, message))
            continue
        own = [problem for field in model["fields"] for problem in _of_field(name, model, field, message)]
        if not own:
            return []
        problems += own
    return problems


def _of_field(place: str, model: dict[str, Any], field: list[str], message: dict[str, Any]) -> list[Problem]:
    name, kind = field
    place = f"{place}.{name}"
    if name not in message:
        optional = name in model.get("optional", ())
        return [] if optional else [Problem("missing", place, "Field required", message)]
    value = message[name]
    if kind not in _COMPLAINTS:
        expected = repr(kind)
        complaint = Problem("literal_error", place, f"Input should be {expected}", value, {"expected": expected})
        return [] if value == kind else [complaint]
    if isinstance(value, str) and kind != "list":
        return []
    if isinstance(value, list) and kind not in ("text", "nullable_text"):
        return []
    if value is None and kind.startswith("nullable"):
        return []
    return [Problem(problem, place, words, value) for problem, words in _COMPLAINTS[kind]]
