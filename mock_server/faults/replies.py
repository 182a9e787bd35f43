"""Replies that are wrong in themselves: a whole reply and a fault -> the reply that is sent. Pure; no socket here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mock_server.errors import ApiError
from mock_server.faults.schema import ErrorEvent, FaultKind, FinishReason
from mock_server.replies import wire
from mock_server.replies.refusals import NESTED_ERRORS, ErrorShape

Json = dict[str, Any]


@dataclass(slots=True)
class Reply:
    """An HTTP answer, complete."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def is_stream(self) -> bool:
        """Whether the body is events."""
        return self.header(b"content-type").startswith(b"text/event-stream")

    def header(self, name: bytes) -> bytes:
        """A header's value; empty when there is none."""
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def with_header(self, name: bytes, value: bytes | None) -> Reply:
        """The same with another value for a header, or without it (None)."""
        kept = [pair for pair in self.headers if pair[0].lower() != name]
        return Reply(self.status, kept if value is None else [*kept, (name, value)], self.body)

    def with_body(self, body: bytes) -> Reply:
        """The same with another body, and the length that goes with it where one is told."""
        reply = Reply(self.status, self.headers, body)
        return reply.with_header(b"content-length", b"%d" % len(body)) if self.header(b"content-length") else reply


def altered(reply: Reply, fault: FaultKind, errors: ErrorShape = NESTED_ERRORS) -> Reply:
    """The reply as this fault makes it. Faults of the connection leave it as it is, and so does an error status."""
    if reply.status != 200:
        return reply
    if fault.content_type is not None:
        return reply.with_header(b"content-type", fault.content_type.encode("latin-1", "replace"))
    change = _in_stream if reply.is_stream else _in_whole
    return reply.with_body(change(reply.body, fault, errors))


def _failure(event: ErrorEvent) -> ApiError:
    return ApiError(500, "InternalServerError", event.message)


def _in_whole(body: bytes, fault: FaultKind, errors: ErrorShape) -> bytes:
    if fault.invalid_json:
        return body[: len(body) // 2]
    if fault.error_event:
        return wire.encode(errors.body(_failure(fault.error_event)))
    if fault.empty_choices:
        return _changed(body, lambda data: data.update(choices=[]))
    if fault.null_content:
        return _changed(body, _without_content)
    if fault.finish_reason:
        ends = fault.finish_reason
        return _changed(body, lambda data: _ended(data, ends))
    return body


def _changed(body: bytes, change: Callable[[Json], None]) -> bytes:
    data = wire.parse(body)
    if isinstance(data, dict) and isinstance(data.get("choices"), list):
        change(data)
    return wire.encode(data)


def _without_content(data: Json) -> None:
    for choice in data["choices"]:
        holder, name = _text_place(choice)
        if name in holder:
            holder[name] = None


def _ended(data: Json, ends: FinishReason) -> None:
    tokens = 0
    for choice in data["choices"]:
        holder, name = _text_place(choice)
        text = holder.get(name) or ""
        holder[name] = text[: int(len(text) * ends.keep)]
        _end(choice, ends.reason)
        tokens += len(holder[name].encode(errors="replace"))
    _count(data, tokens)


def _end(choice: Json, reason: str) -> None:
    # What stopped it is nothing; SGLang has another name for that than vLLM.
    stopped_by = "matched_stop" if "matched_stop" in choice else "stop_reason"
    choice.update({"finish_reason": reason, stopped_by: None})


def _text_place(choice: Json) -> tuple[Json, str]:
    """Where the text of a choice stands: in a message, in a delta, or in the choice itself (/v1/completions)."""
    holder = choice.get("message") or choice.get("delta")
    return (holder, "content") if isinstance(holder, dict) else (choice, "text")


def _count(data: Json, tokens: int) -> None:
    usage = data.get("usage")
    if isinstance(usage, dict):
        usage.update(completion_tokens=tokens, total_tokens=usage.get("prompt_tokens", 0) + tokens)


# --- streams ---


def _in_stream(body: bytes, fault: FaultKind, errors: ErrorShape) -> bytes:
    events = [event + b"\n\n" for event in body.split(b"\n\n") if event]
    done = [event for event in events if event == wire.DONE]
    events = [event for event in events if event != wire.DONE]
    if fault.done_missing:
        done = []
    elif fault.error_event:
        events = events[: int(len(events) * fault.error_event.after)]
        events.append(wire.event(errors.event(_failure(fault.error_event))))
    elif fault.invalid_json and events:
        middle = len(events) // 2
        events[middle] = events[middle][: len(events[middle]) // 2] + b"\n\n"
    elif fault.empty_choices or fault.null_content or fault.finish_reason:
        events = [wire.event(chunk) for chunk in _changed_chunks(list(map(_data, events)), fault)]
    return b"".join(events + done)


def _data(event: bytes) -> Any:
    return wire.parse(event.removeprefix(b"data: ").strip())


def _changed_chunks(chunks: list[Any], fault: FaultKind) -> list[Any]:
    completions = [chunk for chunk in chunks if isinstance(chunk, dict) and isinstance(chunk.get("choices"), list)]
    if fault.finish_reason:
        return _ended_chunks(completions, fault.finish_reason)
    for chunk in completions:
        if fault.empty_choices:
            chunk["choices"] = []
        else:
            _without_content(chunk)
    return completions


def _ended_chunks(chunks: list[Json], ends: FinishReason) -> list[Json]:
    room: dict[int, int] = defaultdict(int)
    for chunk in chunks:
        for choice in chunk["choices"]:
            holder, name = _text_place(choice)
            room[choice["index"]] += len(holder.get(name) or "")
    room = {index: int(size * ends.keep) for index, size in room.items()}
    tokens = 0
    kept = []
    for chunk in chunks:
        said = [choice for choice in chunk["choices"] if _goes_on(choice, room, ends)]
        tokens += sum(len((holder.get(name) or "").encode(errors="replace")) for holder, name in map(_text_place, said))
        if said or not chunk["choices"]:
            _count(chunk, tokens)
            kept.append({**chunk, "choices": said})
    return kept


def _goes_on(choice: Json, room: dict[int, int], ends: FinishReason) -> bool:
    """Cut a chunk's choice to what there is room for; whether anything is left of it."""
    holder, name = _text_place(choice)
    text = holder.get(name)
    if choice.get("finish_reason"):
        _end(choice, ends.reason)
    if text:
        holder[name] = text[: room[choice["index"]]]
        room[choice["index"]] -= len(holder[name])
    return bool(choice.get("finish_reason") or holder.get(name) or not text)
