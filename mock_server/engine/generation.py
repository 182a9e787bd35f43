"""A request on its way through the engine: what it is going to say, and how far it has come."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace


@dataclass(slots=True)
class Plan:
    """What one choice is going to say. `tokens` may be more than the text has bytes: a stop string, the end token."""

    text: bytes
    tokens: int
    finish_reason: str
    stop_reason: str | int | None = None
    unseen: bytes = b""
    """What is said after the text and not shown: a stop string or stop token. Tokens beyond are end tokens."""
    engine_id: str = ""
    """What the engine knows this part of a request by; empty: by the request's own id."""
    prompt_tokens: int = 0
    prompt_blocks: tuple[int, ...] = ()
    """Keys of the prompt's blocks (prefix_cache.block_keys)."""


class Choice:
    """One choice being said: how far it has come, and how it ended."""

    __slots__ = ("cached_tokens", "counted", "finish_reason", "plan", "retractions", "stop_reason", "tokens", "told")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tokens = 0
        self.finish_reason: str | None = None
        self.stop_reason: str | int | None = None
        self.cached_tokens = 0
        self.retractions = 0
        # What the statistics know of it: tokens, and whether it has ended.
        self.counted = 0
        self.told = False

    @property
    def text(self) -> str:
        """What has been said so far, whole characters only."""
        return self.plan.text[: self.tokens].decode(errors="ignore")

    def advance(self, tokens: int) -> None:
        """Go on to `tokens` tokens in all; the last one ends the choice as planned."""
        self.tokens = min(tokens, self.plan.tokens)
        if self.tokens == self.plan.tokens:
            self.finish_reason, self.stop_reason = self.plan.finish_reason, self.plan.stop_reason


class Generation:
    """A request in the engine: its choices start together and are said at the same speed."""

    def __init__(
        self, request_id: str, plans: Sequence[Plan], garbled: Callable[[], Sequence[Plan]] | None = None
    ) -> None:
        self.request_id = request_id
        self.choices = [Choice(plan) for plan in plans]
        self._garbled = garbled
        self.failed = False
        """Whether the engine died on it."""
        # The moments of its way through the engine, in seconds.
        self.submitted = self.started = self.spoke = 0.0
        self._due = 0.0
        self._news = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether every choice has ended."""
        return all(choice.finish_reason for choice in self.choices)

    @property
    def broken(self) -> bool:
        """Whether a choice could not go on: the request is answered by an error."""
        return any(choice.finish_reason == "error" for choice in self.choices)

    @property
    def unfinished(self) -> int:
        """The number of choices that have not ended."""
        return sum(choice.finish_reason is None for choice in self.choices)

    async def begun(self) -> None:
        """Wait until something has been said, and leave it to `news` to say so."""
        await self._news.wait()

    async def news(self) -> None:
        """Wait until something has been said, or the end. One waiter at a time."""
        await self._news.wait()
        self._news.clear()

    def advance(self, tokens: float) -> None:
        """Let every choice say `tokens` more; fractions add up."""
        self._due += tokens
        for choice in self.choices:
            if choice.finish_reason is None:
                choice.advance(choice.plan.tokens if self._due >= choice.plan.tokens else int(self._due))
        self._news.set()

    def garble(self) -> None:
        """What is left to say comes from weights that are none: go on by the plans for that case, if there are any."""
        for choice, plan in zip(self.choices, self._garbled() if self._garbled else (), strict=False):
            said = choice.plan.text[: choice.tokens]
            choice.plan = replace(plan, text=said + plan.text[choice.tokens :])

    def engine_id(self, choice: Choice) -> str:
        """What the engine knows a choice by; the choices of one prompt share it."""
        return choice.plan.engine_id or self.request_id

    @property
    def engine_requests(self) -> int:
        """How many requests it is to the engine: each choice under way, and once more what has several of them."""
        unfinished = Counter(self.engine_id(choice) for choice in self.choices if choice.finish_reason is None)
        every = Counter(map(self.engine_id, self.choices))
        return sum(count + (every[name] > 1) for name, count in unfinished.items())

    def end(self, reason: str, engine_ids: Collection[str] | None = None) -> list[Choice]:
        """End what has not ended by itself, or what of it has such an id, with the text so far. Returns those."""
        ended = [
            choice
            for choice in self.choices
            if choice.finish_reason is None and (engine_ids is None or self.engine_id(choice) in engine_ids)
        ]
        for choice in ended:
            choice.finish_reason = reason
        if ended:
            self._news.set()
        return ended
