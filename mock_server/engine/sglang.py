"""SGLang's engine: a scheduler with three ways to pause, and memory that is released and resumed by tags.

Two processes make the real one: the tokenizer, where requests wait while the server is paused and cannot be aborted,
and the scheduler, which asserts what it expects and takes the whole server with it where that does not hold. Source:
managers/tokenizer_manager.py, scheduler.py, scheduler_components/weight_updater.py of SGLang 0.5.23.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mock_server.engine.generation import Generation
from mock_server.engine.gpu import OutOfMemory, SimulatedGpu
from mock_server.engine.machine import Engine, EngineRules, Scheduling
from mock_server.engine.prefix_cache import PrefixCache
from mock_server.engine.stats import EngineStats
from mock_server.errors import EngineCallError, SchedulerCrash

WEIGHTS = "weights"
BLOCK_TOKENS = 1
"""Tokens of a block of the prefix cache: a tree that branches at any token."""


class PauseMode(str, enum.Enum):
    """What a pause does to the requests in flight: end them, take them off to be recomputed later, freeze them."""

    ABORT = "abort"
    RETRACT = "retract"
    IN_PLACE = "in_place"


class SglangEngine(Engine):
    """The state machine of SGLang 0.5.23. `asleep` holds the tags that have been released."""

    def __init__(
        self,
        tokens_per_second: float | None = None,
        stats: EngineStats | None = None,
        rules: EngineRules | None = None,
        gpu: SimulatedGpu | None = None,
        *,
        tags: Sequence[str] = ("kv_cache", "weights", "cuda_graph"),
        memory_saver: bool = False,
        weights_backup: bool = False,
    ) -> None:
        super().__init__(tokens_per_second, stats, rules, gpu)
        self.prefix_cache = PrefixCache(BLOCK_TOKENS)
        self.tags = tuple(tags)
        self.memory_saver = memory_saver
        self.weights_backup = weights_backup
        self.weights_lost = False
        """Whether the weights were released without a copy: what is resumed then is random."""
        # Aborted while frozen: they end when they move again.
        self._doomed: dict[Generation, None] = {}

    @property
    def facts(self) -> dict[str, Any]:
        """What there is to say about the memory."""
        return {
            "memory_saver": self.memory_saver,
            "weights_backup": self.weights_backup,
            "released": sorted(self.asleep),
            "weights_lost": self.weights_lost,
        }

    # --- requests ---

    def submit(self, generation: Generation) -> None:
        """Start a generation, or let it wait. A prompt that is answered several times is read once beforehand."""
        for choice, following in zip(generation.choices, generation.choices[1:], strict=False):
            if choice.plan.prompt_blocks == following.plan.prompt_blocks:
                self.prefix_cache.admit(choice.plan.prompt_blocks, choice.plan.prompt_tokens)
        super().submit(generation)

    def knows(self, request_id: str) -> bool:
        """Whether a request of that name is under way."""
        return any(each.request_id == request_id for each in (*self._waiting, *self._running))

    def _admit(self, generation: Generation) -> None:
        cached = [choice.cached_tokens for choice in generation.choices] if generation.spoke else []
        super()._admit(generation)
        # What was taken off and comes back goes by what it found the first time.
        for choice, tokens in zip(generation.choices, cached, strict=False):
            choice.cached_tokens = tokens

    # --- pausing ---

    async def pause_generation(self, mode: PauseMode) -> None:
        """Hold back what comes from now on. ABORT returns when nothing runs any more: where requests are frozen, that
        is not before they are continued or given up."""
        if mode is PauseMode.ABORT:
            self.abort()
            if self.scheduling is Scheduling.RUN:
                self.scheduling = Scheduling.PAUSED_NEW
            await self._idle.wait()
            return
        self.scheduling = Scheduling.PAUSED_ALL
        if mode is PauseMode.RETRACT:
            for choice in (choice for generation in self._running for choice in generation.choices):
                choice.retractions += 1
            self._preempt()
        self._settle()

    def continue_generation(self) -> None:
        """Go on. Requests that were aborted while frozen end now."""
        doomed, self._doomed = self._doomed, {}
        self._end(doomed, "abort", counted=False)
        self.resume()

    def abort(self, request_ids: Iterable[str] | None = None) -> int:
        """End what has begun to run, all of it or what has one of these ids or begins with it; returns how many.

        Requests that wait because the server is paused are not known to the scheduler: they go on when it does.
        """
        names = None if request_ids is None else tuple(request_ids)
        known = (*(waiting for waiting in self._waiting if waiting.spoke), *self._running)
        chosen = [each for each in known if names is None or each.request_id.startswith(names)]
        if names is not None and not any(each.request_id in names for each in known):
            return 0  # a beginning alone is no request
        frozen = self.scheduling is Scheduling.PAUSED_ALL
        kept = {each: None for each in chosen if frozen and each in self._running}
        self._doomed.update(kept)
        for choice in (choice for each in chosen if each in self._waiting for choice in each.choices):
            # What was taken off and never comes back is answered from the queue, where nobody knows what it has said.
            choice.tokens, choice.plan = 0, replace(choice.plan, prompt_tokens=0)
        self._end([each for each in chosen if each not in kept], "abort", counted=False)
        return len(chosen)

    # --- memory ---

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs. What waits for the end of a pause does not count."""
        return not self._running

    async def idle_within(self, seconds: float | None) -> bool:
        """Wait until nothing runs, for so many seconds (None: for ever); whether that is so."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return self.is_idle

    def flush_cache(self) -> bool:
        """Empty the prefix cache; False, and nothing is done, while something runs."""
        if self.is_idle:
            self.prefix_cache.clear()
        return self.is_idle

    def release(self, tags: Sequence[str] | None) -> None:
        """Give memory back, all of it if no tag is named. Raises SchedulerCrash while something runs."""
        if not self.is_idle:
            raise SchedulerCrash("release_memory_occupation should be called only when server is idle.")
        released = tags or self.tags
        self.asleep.update(released)
        if "kv_cache" in released:
            self.prefix_cache.clear()
        if not self.memory_saver:
            return
        if WEIGHTS in released and not self.weights_backup:
            self.weights_lost = True
        if self.memory.gpu:
            self.memory.gpu.unmap(self._on_card(released), keep_weights=self.weights_backup)

    def reclaim(self, tags: Sequence[str] | None) -> None:
        """Take memory again. Raises SchedulerCrash for a tag that has not been released, or does not fit any more."""
        wanted = tags or self.tags
        for tag in wanted:
            if tag not in self.asleep:
                raise SchedulerCrash(f"KeyError: {tag!r}")
            self.asleep.remove(tag)
        if self.memory.gpu and self.memory_saver:
            try:
                self.memory.gpu.map(self._on_card(wanted))
            except OutOfMemory as error:
                raise SchedulerCrash(str(error)) from None

    def _on_card(self, tags: Sequence[str]) -> list[str]:
        """Those that the simulated GPU knows the size of."""
        return [tag for tag in tags if self.memory.gpu and tag in self.memory.gpu.parts]

    def load_weights(self) -> None:
        """Write the model's weights. Kills where they are not mapped."""
        super().load_weights()
        self.weights_lost = False

    # --- for tests ---

    def wake_up(self, tags: Sequence[str] | None = None) -> None:  # noqa: ARG002
        """All of it as at the start: no such call of the real server, but what /_mock/reset asks of any engine."""
        try:
            if self.asleep:
                self.reclaim(sorted(self.asleep))
        except SchedulerCrash as error:
            raise EngineCallError("wake_up", error) from None
        self.load_weights()
        self.continue_generation()

    def restart(self) -> None:
        """A fresh engine, in another process as it were."""
        super().restart()
        self.prefix_cache = PrefixCache(BLOCK_TOKENS)
        self.weights_lost = False
        self._doomed = {}
