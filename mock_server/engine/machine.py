"""The engine: what runs, what waits and what sleeps. Contract section 2 in code, free of HTTP.

It is told beforehand what every request will say (Plan) and only simulates the time that saying it takes: at
`tokens_per_second`, or at once. All of it belongs to one event loop; nothing here blocks and nothing here is locked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from mock_server.engine.generation import Choice, Generation, Plan
from mock_server.engine.gpu import SimulatedGpu
from mock_server.engine.memory import Memory
from mock_server.engine.prefix_cache import PrefixCache
from mock_server.engine.rules import EngineRules, Mode, Scheduling
from mock_server.engine.stats import EngineStats
from mock_server.errors import EngineCallError

__all__ = ["Choice", "Engine", "EngineRules", "Generation", "Mode", "Plan", "Scheduling"]

STEP_SECONDS = 0.01
"""How often a simulated generation advances."""


class Snapshot(NamedTuple):
    """The engine at one moment. `running` and `waiting` count requests, not choices."""

    dead: bool
    scheduling: str
    asleep: tuple[str, ...]
    running: int
    waiting: int


class Engine:
    """The state machine of vLLM: a scheduler that may be paused, and memory that may be asleep, by a version's rules.

    Generations that may not start wait; `wake_up` and `resume` start them. Without `tokens_per_second` a generation is
    finished the moment it starts. Otherwise `run` must be running, or `step` be called, for time to pass.
    """

    def __init__(
        self,
        tokens_per_second: float | None = None,
        stats: EngineStats | None = None,
        rules: EngineRules | None = None,
        gpu: SimulatedGpu | None = None,
    ) -> None:
        self.tokens_per_second = tokens_per_second
        self.rules = rules or EngineRules()
        self.on_crash: Callable[[], None] = self.die
        """What happens when it computes on memory that sleeps, by the rules that say so."""
        self.scheduling = Scheduling.RUN
        self.memory = Memory(self.rules, gpu)
        self.dead = False
        self.sleep_level: int | None = None
        """The level of the last /sleep as the metrics show it: None once all is awake; /pause does not touch it."""
        self.stats = EngineStats() if stats is None else stats
        self.prefix_cache = PrefixCache()
        # Dictionaries as ordered sets.
        self._waiting: dict[Generation, None] = {}
        self._running: dict[Generation, None] = {}
        self._idle = asyncio.Event()
        self._still = asyncio.Event()
        """Nothing runs, or what runs is frozen."""
        self._busy = asyncio.Event()
        self._settle()

    # --- what can be seen ---

    @property
    def asleep(self) -> set[str]:
        """The parts of memory that sleep."""
        return self.memory.asleep

    @property
    def is_paused(self) -> bool:
        """Whether the scheduler holds anything back; where a pause is a gate before it, whether that is closed."""
        if not self.rules.sleep_pauses:
            return self.scheduling is Scheduling.PAUSED_NEW
        return self.scheduling is not Scheduling.RUN

    @property
    def is_sleeping(self) -> bool:
        """True while partly awake and, where sleep pauses, also while merely paused (contract section 2)."""
        return bool(self.asleep) or (self.rules.sleep_pauses and self.is_paused)

    @property
    def _runs_unmapped(self) -> bool:
        """Whether to run now is to compute on memory that sleeps, and deadly."""
        return (
            self.rules.dies_on_unmapped and bool(self.memory.unmapped) and self.scheduling is not Scheduling.PAUSED_ALL
        )

    @property
    def running(self) -> int:
        """Choices being said, or frozen while being said."""
        return sum(generation.unfinished for generation in list(self._running))

    @property
    def waiting(self) -> int:
        """Choices that wait for the engine to wake or to be resumed."""
        return sum(generation.unfinished for generation in list(self._waiting))

    @property
    def shown_running(self) -> int:
        """`running` as the metric has it: it moves with engine steps only, so what lost its place still counts."""
        return self.running + sum(generation.unfinished for generation in list(self._waiting) if generation.spoke)

    def snapshot(self) -> Snapshot:
        """The state now, in so few words that it costs nothing to keep one with every request."""
        return Snapshot(
            self.dead, self.scheduling.value, tuple(sorted(self.asleep)), len(self._running), len(self._waiting)
        )

    # --- requests ---

    def submit(self, generation: Generation) -> None:
        """Start a generation, or let it wait while the engine is paused or asleep. A dead engine fails it."""
        generation.submitted = generation.started = monotonic()
        if self.dead:
            self._fail([generation])
        elif self.scheduling is not Scheduling.RUN:
            self._waiting[generation] = None
        else:
            self._start(generation)
            self._settle()

    def drop(self, generation: Generation) -> None:
        """Forget a generation whose client has gone. Nobody gets an answer."""
        self._end([generation], "dropped", counted=False)

    def abort(self, request_ids: Iterable[str] | None = None) -> int:
        """End all generations, or those named, with what they have said so far.

        Returns how many, as the real server counts: of several choices each, and their request once more; and ids that
        are not known are counted too. The statistics do not hear of these ends.
        """
        generations = [*self._waiting, *self._running]
        if request_ids is None:
            aborted = sum(generation.engine_requests for generation in generations)
            self._end(generations, "abort", counted=False)
            return aborted
        names = list(request_ids)
        self._end(generations, "abort", names, counted=False)
        return len(names)

    # --- death ---

    def die(self) -> None:
        """Fail everything in flight, and whatever comes until `restart` (contract section 3, "Engine death")."""
        self.dead = True
        self.memory.stop()
        self._fail([*self._waiting, *self._running])

    def restart(self) -> None:
        """A fresh engine: awake and running, with nothing in flight. Raises OutOfMemory if it has no room to start."""
        self._fail([*self._waiting, *self._running])
        self.memory.start()
        self.dead = False
        self.sleep_level = None
        self.prefix_cache = PrefixCache()
        self.scheduling = Scheduling.RUN
        self._settle()

    def _fail(self, generations: Sequence[Generation]) -> None:
        for generation in generations:
            generation.failed = True
        self._end(generations, "error")

    # --- pausing and sleeping ---

    async def pause(self, mode: Mode = Mode.ABORT, clear_cache: bool = True) -> None:
        """Hold back new requests; `mode` says what becomes of those in flight. WAIT returns when they are done."""
        if not self.rules.sleep_pauses:
            await self._close_gate(mode, clear_cache)
            return
        if mode is Mode.ABORT:
            self._end([*self._waiting, *self._running], "abort")
        self.scheduling = Scheduling.PAUSED_ALL if mode is Mode.KEEP else Scheduling.PAUSED_NEW
        self._settle()
        if mode is Mode.WAIT:
            await self._still.wait()
        if clear_cache:
            if self.scheduling is Scheduling.PAUSED_ALL:
                self._preempt()
            self.prefix_cache.clear()

    async def _close_gate(self, mode: Mode, clear_cache: bool) -> None:
        """The pause of versions where it is apart from sleep: a second one does nothing to the requests."""
        if mode is Mode.KEEP:
            self.scheduling = Scheduling.PAUSED_ALL
        elif self.scheduling is not Scheduling.PAUSED_NEW:
            self.scheduling = Scheduling.PAUSED_NEW
            if mode is Mode.ABORT:
                self._end([*self._waiting, *self._running], "abort")
        self._settle()
        if mode is Mode.WAIT:
            await self._idle.wait()
        if clear_cache:
            self.reset_prefix_cache()

    def _preempt(self) -> None:
        """Running requests lose their cache: back to the head of the queue, to be recomputed when it moves."""
        self.stats.preemptions += self.running
        self._waiting = self._running | self._waiting
        self._running = {}
        self._settle()

    def reset_prefix_cache(self, reset_running: bool = False) -> bool:
        """Empty the prefix cache. False, and nothing is done, while a request holds a part of it.

        With `reset_running` those requests give their part back and are recomputed.
        """
        if self._running and not reset_running:
            return False
        self.prefix_cache.clear()
        if self._running:
            self._preempt()
            if self.scheduling is Scheduling.RUN:
                self.resume()
        return True

    def resume(self) -> None:
        """Run whatever memory is asleep or not: on a GPU this kills an engine that sleeps."""
        self.scheduling = Scheduling.RUN
        waiting, self._waiting = self._waiting, {}
        for generation in waiting:
            self._start(generation)
        self._settle()

    async def sleep(self, level: int = 1, mode: Mode = Mode.ABORT) -> None:
        """Pause, and from level 1 on give the memory back.

        The pause may take its time (WAIT), and a wake_up meanwhile is forgotten: the memory then sleeps while the
        scheduler runs. That race is the real server's (contract section 2). Where sleep does not pause there is no
        mode, and every level takes the memory.
        """
        if self.rules.sleep_pauses:
            await self.pause(mode, clear_cache=level >= 1)
        elif self.rules.sleep_clears_cache:
            self.reset_prefix_cache()
        if level >= 1 or not self.rules.sleep_pauses:
            self.memory.sleep(level)
        self.sleep_level = level
        self._settle()

    def release_kv_cache_memory(self) -> None:
        """Give the KV cache alone back. Raises EngineCallError while not paused or asleep, and without a simulated GPU.

        Without one the cache counts as asleep all the same, as on a real server without one.
        """
        method = "release_kv_cache_memory"
        if not self.is_paused or not self._still.is_set():
            raise EngineCallError(method, f"{method}() requires a completed pause first")
        if self.asleep:
            raise EngineCallError(method, f"{method}() requires all executor memory to be resident")
        self.reset_prefix_cache(reset_running=True)
        self.memory.release_kv_cache()
        self.sleep_level = 0

    def load_weights(self) -> None:
        """Write the model's weights, which a sleep at level 2 has thrown away. Kills where they are not mapped."""
        if self.rules.dies_on_unmapped and "weights" in self.memory.unmapped:
            self.on_crash()
        else:
            self.memory.load_weights()

    def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """Wake the memory named by `tags` (None: all of it); run again once nothing sleeps, or sooner by the rules.

        A tag that is not asleep makes the whole call a silent no-op. Raises EngineCallError for a tag given twice.
        """
        memory = tags
        if tags is not None and self.rules.sleep_pauses:
            memory = [tag for tag in tags if tag != "scheduling"]
        if self.asleep and (memory is None or memory):
            self.memory.wake(memory)
        if not self.asleep or not self.rules.shows_waking:
            self.sleep_level = None
        if self.rules.sleep_pauses and (self.rules.wakes_at_once or not self.asleep):
            self.resume()

    def reset(self) -> None:
        """For tests: all of it awake, loaded and running, and nobody else on the GPU."""
        self.memory.reset()
        self.sleep_level = None
        self.resume()

    # --- time ---

    async def run(self) -> None:
        """Let time pass, for ever. Costs nothing while there is nothing to say."""
        loop = asyncio.get_running_loop()
        while True:
            await self._busy.wait()
            last = loop.time()
            while self._busy.is_set():
                await asyncio.sleep(STEP_SECONDS)
                now = loop.time()
                self.step(now - last)
                last = now

    def step(self, seconds: float) -> None:
        """Let `seconds` pass for the generations that run. Frozen and waiting ones do not notice."""
        if self.scheduling is not Scheduling.PAUSED_ALL and self.tokens_per_second is not None:
            now = monotonic()
            for generation in self._running:
                generation.advance(seconds * self.tokens_per_second)
                self.stats.hear(generation, now)
            self._running = {generation: None for generation in self._running if not generation.finished}
            self._settle()

    def _start(self, generation: Generation) -> None:
        self._admit(generation)
        if self.memory.weights_lost:
            generation.garble()
        if self.tokens_per_second is None and not self._runs_unmapped:
            generation.advance(float("inf"))
            self.stats.hear(generation, monotonic())
        else:
            self._running[generation] = None

    def _end(
        self,
        generations: Iterable[Generation],
        reason: str,
        engine_ids: Collection[str] | None = None,
        counted: bool = True,
    ) -> None:
        """End generations, or the parts of them that the ids name. Not `counted`: the statistics see no end."""
        for generation in generations:
            ended = generation.end(reason, engine_ids)
            if engine_ids is not None and not ended:
                continue
            for choice in ended:
                choice.told = not counted
            if generation.finished:
                self._waiting.pop(generation, None)
                self._running.pop(generation, None)
            self.stats.hear(generation, monotonic())
        self._settle()

    def _admit(self, generation: Generation) -> None:
        """A generation starts, or starts again after it has lost its cache."""
        generation.started = generation.spoke = monotonic()
        for choice in generation.choices:
            plan = choice.plan
            cached = self.prefix_cache.admit(plan.prompt_blocks, plan.prompt_tokens)
            self.stats.admitted(plan.prompt_tokens, cached)
            choice.cached_tokens = cached

    def _settle(self) -> None:
        """Tell those who wait for idleness, and the clock whether there is anything to do; or die of it."""
        if self._running and self._runs_unmapped:
            self.on_crash()
            return
        frozen = self.scheduling is Scheduling.PAUSED_ALL
        _set(self._idle, not self._running)
        _set(self._still, not self._running or frozen)
        _set(self._busy, bool(self._running) and not frozen)


def _set(event: asyncio.Event, value: bool) -> None:
    if value:
        event.set()
    else:
        event.clear()
