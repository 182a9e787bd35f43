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

from mock_server.engine.generation import Generation
from mock_server.engine.machine import Engine, Scheduling
from mock_server.engine.prefix_cache import PrefixCache
from mock_server.engine.sglang_memory import RULES, WEIGHTS, Loaded, SglangMemory
from mock_server.engine.stats import EngineStats
from mock_server.errors import SchedulerCrash

BLOCK_TOKENS = 1
"""Tokens of a block of the prefix cache: a tree that branches at any token."""


class PauseMode(str, enum.Enum):
    """What a pause does to the requests in flight: end them, take them off to be recomputed later, freeze them."""

    ABORT = "abort"
    RETRACT = "retract"
    IN_PLACE = "in_place"


class SglangEngine(Engine):
    """The state machine of SGLang 0.5.23. `asleep` holds the tags that have been released."""

    memory: SglangMemory

    def __init__(
        self,
        tokens_per_second: float | None = None,
        stats: EngineStats | None = None,
        memory: SglangMemory | None = None,
    ) -> None:
        super().__init__(tokens_per_second, stats, RULES)
        self.memory = memory or SglangMemory()
        self.prefix_cache = PrefixCache(BLOCK_TOKENS)
        # Aborted while frozen: they end when they move again.
        self._doomed: dict[Generation, None] = {}

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

    async def idle_within(self, seconds: float) -> bool:
        """Wait until nothing runs, for so many seconds; whether that is so."""
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
        released = tags or self.memory.tags
        self.memory.release(released)
        if "kv_cache" in released:
            self.prefix_cache.clear()

    def reclaim(self, tags: Sequence[str] | None) -> None:
        """Take memory again. Raises SchedulerCrash for a tag that has not been released, and where there is no room."""
        self.memory.reclaim(tags or self.memory.tags)

    async def update_weights(self, model: str, version: str | None = None, flush: bool = True) -> bool:
        """Load the weights of `model`, once nothing runs, or at once while paused; then empty the prefix cache.

        Returns whether that could be done. Raises SchedulerCrash where the weights have no memory.
        """
        while not (self.is_idle or self.is_paused):
            await self._idle.wait()
        if self.dead or WEIGHTS in self.memory.unmapped:
            raise SchedulerCrash("CUDA error: an illegal memory access was encountered")
        self.memory.load_weights()
        flushed = not flush or self.flush_cache()
        if flushed:
            self.memory.loaded = Loaded(model, version or self.memory.loaded.version)
        return flushed

    def generates(self) -> bool:
        """Whether it says a token that is asked for now, as by a check of its health. It may die of that."""
        if self.is_paused:
            return False
        if self._runs_unmapped:
            self.on_crash()
        return not self.dead

    # --- ends and beginnings ---

    def reset(self) -> None:
        """For tests: all of it as at the start, and running."""
        self.memory.reset()
        self.continue_generation()

    def restart(self) -> None:
        """A fresh engine, in another process as it were."""
        super().restart()
        self.prefix_cache = PrefixCache(BLOCK_TOKENS)
        self._doomed = {}
