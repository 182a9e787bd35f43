"""Clients that wait as long as it takes: what they ask, what they have read so far, and what they should have read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from engine_model import Request

PATIENCE = 30.0
"""Seconds; for a machine that has come to a halt."""
TEXT = "abcdefghijklmnopqrstuvwxyz"
"""What the server is to say to all of them, up to `max_tokens`."""
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


class Asked(NamedTuple):
    """A completion request."""

    chat: bool
    stream: bool
    choices: int
    max_tokens: int
    usage: bool
    """Whether a stream is to tell it, too."""

    def body(self) -> dict[str, Any]:
        """What is sent."""
        prompt = {"messages": [{"role": "user", "content": "x"}]} if self.chat else {"prompt": "x"}
        options = {"stream": True, "stream_options": {"include_usage": self.usage}} if self.stream else {}
        return {**prompt, **options, "n": self.choices, "max_tokens": self.max_tokens}

    def request(self, name: str) -> Request:
        """What it is to the engine, sent with the id `name`."""
        engine_id = f"chatcmpl-{name}" if self.chat else f"cmpl-{name}-0"
        if self.max_tokens <= len(TEXT):
            return Request(self.max_tokens, "length", self.choices, engine_id)
        return Request(len(TEXT) + 1, "stop", self.choices, engine_id)  # the end is a token, too


class Seen(NamedTuple):
    """What a client has read, by choice where it is a list."""

    status: int | None
    roles: list[int]
    texts: list[str]
    finish_reasons: list[str | None]
    usage: int | None
    done: bool


def foreseen(asked: Asked, request: Request) -> Seen:
    """What its client must have read of a request by now."""
    if not asked.stream and not request.ended:
        return Seen(None, [], [""] * asked.choices, [None] * asked.choices, None, done=False)
    begun = request.said or request.ended
    # A stream that ends before anything was said has no last chunk: no finish_reason.
    reason = request.ended if request.said or not asked.stream else None
    return Seen(
        status=200,
        roles=list(range(asked.choices)) if asked.stream and asked.chat and begun else [],
        texts=[TEXT[: request.said]] * asked.choices,
        finish_reasons=[reason] * asked.choices,
        usage=request.said * asked.choices if request.ended and (asked.usage or not asked.stream) else None,
        done=request.ended is not None,
    )


class Client:
    """One request and its answer, as far as it has come. Made where an event loop runs."""

    def __init__(self, http: httpx.AsyncClient, asked: Asked, name: str) -> None:
        self.asked = asked
        self.request = asked.request(name)
        self.task = asyncio.get_running_loop().create_task(self._ask(http, name))
        self._status: int | None = None
        self._read: list[Any] = []  # the body, or events
        self._over = False
        self._news = asyncio.Event()

    async def _ask(self, http: httpx.AsyncClient, name: str) -> None:
        path, headers = CHAT if self.asked.chat else COMPLETIONS, {"X-Request-Id": name}
        try:
            async with http.stream("POST", path, json=self.asked.body(), headers=headers) as answer:
                self._status = answer.status_code
                self._news.set()
                if not self.asked.stream:
                    self._read.append(json.loads(await answer.aread()))
                    return
                async for line in answer.aiter_lines():
                    if line:
                        data = line.removeprefix("data: ")
                        self._read.append(data if data == "[DONE]" else json.loads(data))
                        self._news.set()
        finally:
            self._over = True
            self._news.set()

    async def until(self, condition: Callable[[Seen], bool]) -> None:
        """Until it has read so much, or the answer is over. Raises TimeoutError where neither comes."""
        while not (self._over or condition(self.seen)):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE)

    @property
    def foreseen(self) -> Seen:
        """What it must have read by now."""
        return foreseen(self.asked, self.request)

    @property
    def seen(self) -> Seen:
        """What it has read."""
        assert "[DONE]" not in self._read[:-1]
        done = self._read[-1:] == ["[DONE]"] if self.asked.stream else bool(self._read)
        seen = Seen(self._status, [], [""] * self.asked.choices, [None] * self.asked.choices, None, done)
        for event in self._read:
            if event != "[DONE]":
                seen = _and(seen, event)
        return seen


def _and(seen: Seen, event: dict[str, Any]) -> Seen:
    """With one more event, or the body."""
    for choice in event["choices"]:
        index, said = choice["index"], choice.get("delta") or choice.get("message") or choice
        assert seen.finish_reasons[index] is None, "a choice goes on after its end"
        if "role" in said and "delta" in choice:
            assert not seen.texts[index], "who speaks comes first"
            seen.roles.append(index)
        seen.texts[index] += said.get("content") or said.get("text") or ""
        seen.finish_reasons[index] = choice["finish_reason"]
    return seen._replace(usage=event["usage"]["completion_tokens"]) if event.get("usage") else seen
