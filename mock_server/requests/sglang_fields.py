"""What SGLang's requests are made of, by type: chat messages, prompts in texts or tokens, fields never null.

What is wrong is said as pydantic says it of the models in its entrypoints/openai/protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mock_server.errors import Problem, bad_request, invalid
from mock_server.requests.fields import Fields

_ROLES = ("system", "assistant", "tool", "function", "developer", "latest_reminder", "root")
"""The roles besides the user's, in any case."""
_ROLE_WORDS = f"'role' must be one of {', '.join(map(repr, _ROLES))} (case-insensitive)."
_GENERIC = "function-after[validate_thinking_parts_role(), ChatCompletionMessageGenericParam]"
_USER = "function-after[validate_thinking_parts_role(), ChatCompletionMessageUserParam]"
_PARTS_TYPE = (
    "list[union[ChatCompletionMessageContentTextPart,function-after[validate_payload(), "
    "ChatCompletionMessageContentThinkingPart],ChatCompletionMessageContentImagePart,"
    "ChatCompletionMessageContentVideoPart,function-after[_to_audio_url_part(), "
    "union[ChatCompletionMessageContentAudioURLPart,ChatCompletionMessageContentAudioInlinePart]],"
    "ChatCompletionMessageContentToolReferenceBlock]]"
)
_MEDIA = ("image_url", "video_url", "audio_url", "input_audio")
_PARTS = ("text", "thinking", "reasoning", "tool_reference", *_MEDIA)
_NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"
_NULLS = {
    "integer": ("int_type", "Input should be a valid integer"),
    "number": ("float_type", "Input should be a valid number"),
    "boolean": ("bool_type", "Input should be a valid boolean"),
    "string": ("string_type", "Input should be a valid string"),
}


def not_null(fields: Fields, kind: str, names: Iterable[str]) -> None:
    """Note the fields of a type that are there and null, where they may only be left out."""
    for name in names:
        if name in fields.values and fields.values[name] is None:
            fields.reject(_NULLS[kind][0], name, _NULLS[kind][1], None)


def stops(fields: Fields) -> list[str]:
    """The field `stop`: a text or a list of texts."""
    given = fields.values.get("stop")
    if isinstance(given, list | str | None):
        return fields.strings("stop")
    fields.reject("list_type", "stop.list[str]", "Input should be a valid list", given)
    fields.reject("string_type", "stop.str", "Input should be a valid string", given)
    return []


def read_messages(fields: Fields) -> list[dict[str, Any]]:
    """The field `messages`, its roles in lower case. What is wrong is noted in `fields`."""
    messages = fields.values.get("messages")
    if "messages" not in fields.values:
        fields.missing("messages")
    elif not isinstance(messages, list):
        fields.reject("list_type", "messages", "Input should be a valid list", messages)
    else:
        return [_message(fields, f"{fields.place}.messages.{index}", each) for index, each in enumerate(messages)]
    return []


def _message(fields: Fields, place: str, message: Any) -> dict[str, Any]:
    """One message. It is tried as two models, and what none of them takes is said to be wrong as both."""
    generic, user = _as_generic(f"{place}.{_GENERIC}", message), _as_user(f"{place}.{_USER}", message)
    if generic and user:
        fields.problems += [*generic, *user]
        return {}
    return {**message, "role": message["role"].lower()}


def _as_generic(place: str, message: Any) -> list[Problem]:
    if not isinstance(message, dict):
        return [Problem("model_attributes_type", place, _NO_OBJECT, message)]
    problems = []
    role, content = message.get("role"), message.get("content")
    if "role" not in message:
        problems.append(Problem("missing", f"{place}.role", "Field required", message))
    elif not isinstance(role, str) or role.lower() not in _ROLES:
        words = _ROLE_WORDS if isinstance(role, str) else "'role' must be a string"
        context = {"error": ValueError(words)}
        problems.append(Problem("value_error", f"{place}.role", f"Value error, {words}", role, context))
    return problems if content is None else problems + _content(f"{place}.content", content)


def _as_user(place: str, message: Any) -> list[Problem]:
    if not isinstance(message, dict):
        return [Problem("model_attributes_type", place, _NO_OBJECT, message)]
    problems = []
    role = message.get("role")
    if "role" not in message:
        problems.append(Problem("missing", f"{place}.role", "Field required", message))
    elif role != "user":
        problems.append(
            Problem("literal_error", f"{place}.role", "Input should be 'user'", role, {"expected": "'user'"})
        )
    if "content" not in message:
        return [*problems, Problem("missing", f"{place}.content", "Field required", message)]
    return problems + _content(f"{place}.content", message["content"])


def _content(place: str, content: Any) -> list[Problem]:
    if isinstance(content, str):
        return []
    if isinstance(content, list):
        parts = [_part(f"{place}.{_PARTS_TYPE}.{index}", part) for index, part in enumerate(content)]
        return [problem for problem in parts if problem]
    return [
        Problem("string_type", f"{place}.str", "Input should be a valid string", content),
        Problem("list_type", f"{place}.{_PARTS_TYPE}", "Input should be a valid list", content),
    ]


def _part(place: str, part: Any) -> Problem | None:
    """What is wrong with one part, in fewer words than the real server's six models have for it."""
    if not isinstance(part, dict):
        return Problem("model_attributes_type", place, _NO_OBJECT, part)
    kind = part.get("type")
    if kind not in _PARTS:
        return Problem("literal_error", f"{place}.type", "Input should be 'text'", kind, {"expected": "'text'"})
    if kind == "text" and not isinstance(part.get("text"), str):
        return Problem("string_type", f"{place}.text", "Input should be a valid string", part.get("text"))
    return None


def text_of(content: Any) -> str:
    """The text of a message; of one in parts, their texts with blanks between. Raises ApiError (400) for pictures."""
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part["type"] in _MEDIA:
            kind = part["type"]
            raise bad_request(f"Model only supports text input; received unsupported content type '{kind}'.")
    return " ".join(part["text"] for part in content if part["type"] == "text")


class StructFields(Fields):
    """The fields of a body that is made into a structure of the engine's: what is wrong is also that it is none yet."""

    def __init__(self, given: Any, name: str) -> None:
        super().__init__(given if isinstance(given, dict) else {}, f"body.function-after[build_struct(), {name}]")
        self._given, self._name = given, name
        if not isinstance(given, dict):
            self.problems.append(Problem("dict_type", self.place, "Input should be a valid dictionary", given))

    def check(self) -> None:
        """Raises ApiError (400) if anything read so far was wrong."""
        if self.problems:
            words = f"Input should be an instance of {self._name}"
            place = f"body.is-instance[{self._name}]"
            raise invalid([Problem("is_instance_of", place, words, self._given, {"class": self._name}), *self.problems])


RawPrompts = list[str] | list[list[int]]


def read_prompts(fields: Fields) -> RawPrompts:
    """The field `prompt`: one or several, each a text or token ids. What is wrong is noted in `fields`."""
    given = fields.values.get("prompt")
    prompts = prompts_of(given)
    if "prompt" not in fields.values:
        fields.missing("prompt")
    elif prompts is None:
        for kind in ("list[int]", "list[list[int]]"):
            fields.reject("list_type", f"prompt.{kind}", "Input should be a valid list", given)
        fields.reject("string_type", "prompt.str", "Input should be a valid string", given)
        fields.reject("list_type", "prompt.list[str]", "Input should be a valid list", given)
    return prompts or []


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
