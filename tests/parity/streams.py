"""Server-sent events, compared exactly in their framing and tolerantly in their chunking.

A server may send several tokens in one chunk, so equal chunks in a row count as one; with several choices the chunks
of each choice are looked at in turn, for how they interleave is chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

_PREFIX = b"data: "


def text(body: bytes) -> str:
    """All text of a stream."""
    events = list(_events(body))
    # SGLang's /generate repeats all that was said before.
    whole = [event["text"] for event in events if isinstance(event, dict) and "meta_info" in event]
    return whole[-1] if whole else "".join(_piece(choice) for event in events for choice in _choices(event))


def normalised(
    body: bytes, hide: Callable[[Any], Any], keep: frozenset[str] = frozenset(), whole: bool = True
) -> dict[str, Any]:
    """The events of a stream, what hangs between them, and, if asked for, the text.

    `hide` replaces what may differ within one event. Not `whole`: the client hung up, only the first event is looked
    at.
    """
    by_choice: dict[str, list[Any]] = {}
    if not whole:
        return {"begins": hide(next(_events(body), None))}
    for event in _events(body):
        name = _belongs_to(event)
        chunk = hide(_blank(event))
        chunks = by_choice.setdefault(name, [])
        if not chunks or chunks[-1] != chunk:
            chunks.append(chunk)
    seen: dict[str, Any] = {"framing": _framing(body), **dict(sorted(by_choice.items()))}
    if "text" in keep:
        seen["text"] = text(body)
    return seen


def _events(body: bytes) -> Iterator[Any]:
    for line in body.split(b"\n"):
        if line.startswith(_PREFIX):
            data = line.removeprefix(_PREFIX)
            yield json.loads(data) if data.startswith(b"{") else data.decode()


def _framing(body: bytes) -> str:
    """ "data" if the body is nothing but events: one line of data and one empty line each; else what is wrong."""
    lines = body.split(b"\n")
    if lines.pop() != b"":
        return "ends within a line"
    if any(not line.startswith(_PREFIX) for line in lines[::2]) or any(lines[1::2]) or len(lines) % 2:
        odd = sorted({line[:20].decode(errors="replace") for line in lines if line and not line.startswith(_PREFIX)})
        return f"other lines: {odd}"
    return "carriage returns" if b"\r" in body else "data"


def _choices(event: Any) -> list[dict[str, Any]]:
    return (event.get("choices") or []) if isinstance(event, dict) else []


def _belongs_to(event: Any) -> str:
    choices = _choices(event)
    if choices:
        return f"choice {choices[0]['index']}"
    return f"choice {event['index']}" if isinstance(event, dict) and "index" in event else "stream"


def _piece(choice: dict[str, Any]) -> str:
    return (choice.get("text") if "text" in choice else choice["delta"].get("content")) or ""


def _blank(event: Any) -> Any:
    """The event as if every chunk but the opening one carried text: whether the last does is chance."""
    choices = _choices(event)
    for choice in choices:
        if "text" in choice:
            choice["text"] = "?"
        elif "content" in choice["delta"] and "role" not in choice["delta"]:
            choice["delta"]["content"] = "?"
        _blank_logprobs(choice)
    if isinstance(event, dict) and "meta_info" in event:
        # Each event lists all tokens so far: one of them is looked at.
        about = event["meta_info"]
        about |= {key: entries[:1] for key, entries in about.items() if isinstance(entries, list)}
    return event


def _blank_logprobs(choice: dict[str, Any]) -> None:
    """As many log probabilities as tokens in the chunk: one of them is looked at, none in the last chunk."""
    if choice.get("finish_reason"):
        choice["logprobs"] = "<of this chunk>"
    elif isinstance(choice.get("logprobs"), dict) and isinstance(choice["logprobs"].get("content"), list):
        choice["logprobs"]["content"] = choice["logprobs"]["content"][:1]
    if choice.get("token_ids"):
        choice["token_ids"] = ["<tokens>"]
