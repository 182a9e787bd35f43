"""The parts of a chat message: their text, and what the real server says of those that it cannot read."""

from __future__ import annotations

from typing import Any

from mock_server.errors import ApiError, Problem, bad_request, invalid

_TEXT = ("ChatCompletionContentPartTextParam", "text", "text")
_PARTS_OF_ROLE = {
    "user": (
        _TEXT,
        ("ChatCompletionContentPartImageParam", "image_url", "image_url"),
        ("ChatCompletionContentPartInputAudioParam", "input_audio", "input_audio"),
        ("File", "file", "file"),
    ),
    "assistant": (_TEXT, ("ChatCompletionContentPartRefusalParam", "refusal", "refusal")),
    "system": (_TEXT,),
    "developer": (_TEXT,),
}
"""The models that vLLM 0.32.0 tries a part of a message of that role against: name, field, type."""
_MEDIA = ("image", "video", "audio", "input_audio")
_MEDIA_FIELDS = frozenset({"image_url", "video_url", "audio_url", "input_audio", "file"})
_SHOWN = 50
"""Bytes of a value that pydantic shows; of a longer one its beginning and its end."""


def text_of(content: str | list[Any], role: str, served: str) -> str:
    """The text of a message; of one in parts, their texts on lines of their own. Raises ApiError (400)."""
    if isinstance(content, str):
        return content
    # One part that can be read, and the real server takes the message for one of a laxer model.
    if content and role in _PARTS_OF_ROLE and not any(map(_is_known, content)):
        raise _unreadable(content[0], role)
    texts = []
    for index, part in enumerate(content):
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(text)
        elif isinstance(part, dict) and str(part.get("type", "")).startswith(_MEDIA):
            raise bad_request(f"{served} is not a multimodal model")
        else:
            raise invalid([Problem("missing", f"body.messages.content.{index}.text", "Field required", part)])
    return "\n".join(texts)


def _is_known(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    return (part.get("type") == "text" and isinstance(part.get("text"), str)) or not _MEDIA_FIELDS.isdisjoint(part)


def _unreadable(part: Any, role: str) -> ApiError:
    """What pydantic says of the first part: parts are looked at late, and its words are passed on as they are."""
    models = _PARTS_OF_ROLE[role]
    lines: list[str] = []
    for name, field, kind in models:
        place = f"0.{name}" if len(models) > 1 else "0"
        lines += _complaints(place, part, field, kind)
    count = len(lines)
    head = f"{count} validation error{'s' if count > 1 else ''} for ValidatorIterator"
    return bad_request("\n".join([head, *lines]))


def _complaints(place: str, part: Any, field: str, kind: str) -> list[str]:
    if not isinstance(part, dict):
        return [_complaint(place, "dict_type", "Input should be a valid dictionary", part)]
    lines = []
    if field not in part:
        lines.append(_complaint(f"{place}.{field}", "missing", "Field required", part))
    elif not isinstance(part[field], str):
        lines.append(_complaint(f"{place}.{field}", "string_type", "Input should be a valid string", part[field]))
    if "type" not in part:
        lines.append(_complaint(f"{place}.type", "missing", "Field required", part))
    elif part["type"] != kind:
        lines.append(_complaint(f"{place}.type", "literal_error", f"Input should be {kind!r}", part["type"]))
    return lines


def _complaint(place: str, problem: str, words: str, given: Any) -> str:
    return (
        f"{place}\n  {words} [type={problem}, input_value={_shown(given)}, input_type={type(given).__name__}]\n"
        f"    For further information visit https://errors.pydantic.dev/2.14/v/{problem}"
    )


def _shown(given: Any) -> str:
    data = repr(given).encode(errors="backslashreplace")
    if len(data) <= _SHOWN:
        return data.decode()
    # Whole characters of the first 25 and the last 24 bytes.
    return f"{data[: _SHOWN // 2].decode(errors='ignore')}...{data[1 - _SHOWN // 2 :].decode(errors='ignore')}"
