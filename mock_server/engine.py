"""The engine: what runs, what waits and what sleeps. Contract section 2 in code, free of HTTP.

It is told beforehand what every request will say (Plan) and only simulates the time that saying it takes: at
`tokens_per_second`, or at once. All of it belongs to one event loop; nothing here blocks and nothing here is locked.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mock_server.errors import EngineCallError

MEMORY_TAGS = ("weights", "kv_cache")
STEP_SECONDS = 0.01
"""How often a simulated generation advances."""


class Scheduling(enum.Enum):
    """What the scheduler does: all; nothing new; nothing at all."""

    RUN = "run"
    PAUSED_NEW = "paused_new"
    PAUSED_ALL = "paused_all"


class Mode(str, enum.Enum):
    """What a pause does to the requests in flight: end them, let them finish, freeze them."""

    ABORT = "abort"
    WAIT = "wait"
    KEEP = "keep"


class Snapshot(NamedTuple):
    """The engine at one moment. `running` and `waiting` count requests, not choices."""

    dead: bool
    scheduling: str
    asleep: tuple[str, ...]
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What one choice is going to say. `tokens` may be more than the text has bytes: a stop string, the end token."""

    text: bytes
    tokens: int
    finish_reason: str
    stop_reason: str | None = None


class Choice:
    """One choice being said: how far it has come, and how it ended."""

    __slots__ = ("finish_reason", "plan", "stop_reason", "tokens")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tokens = 0
        self.finish_reason: str | None = None
        self.stop_reason: str | None = None

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

    def __init__(self, request_id: str, plans: Sequence[Plan]) -> None:
        self.request_id = request_id
        self.choices = [Choice(plan) for plan in plans]
        self.failed = False
        """Whether the engine died on it."""
        self._due = 0.0
        self._news = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether every choice has ended."""
        return all(choice.finish_reason for choice in self.choices)

    @property
    def unfinished(self) -> int:
        """The number of choices that have not ended."""
        return sum(choice.finish_reason is None for choice in self.choices)

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

    def end(self, reason: str) -> None:
        """End what has not ended by itself, with the text so far."""
        for choice in self.choices:
            choice.finish_reason = choice.finish_reason or reason
        self._news.set()


class Engine:
    """The state machine of vLLM 0.32.0: a scheduler that may be paused, and memory that may be asleep.

    Generations that may not start wait; `wake_up` and `resume` start them. Without `tokens_per_second` a generation is
    finished the moment it starts. Otherwise `run` must be running, or `step` be called, for time to pass.
    """

    def __init__(self, tokens_per_second: float | None = None) -> None:
        self.tokens_per_second = tokens_per_second
        self.scheduling = Scheduling.RUN
        self.asleep: set[str] = set()
        self.dead = False
        # Dictionaries as ordered sets.
        self._waiting: dict[Generation, None] = {}
        self._running: dict[Generation, None] = {}
        self._idle = asyncio.Event()
        self._busy = asyncio.Event()
        self._settle()

    # --- what can be seen ---

    @property
    def is_paused(self) -> bool:
        """Whether the scheduler holds anything back."""
        return self.scheduling is not Scheduling.RUN

    @property
    def is_sleeping(self) -> bool:
        """True also while merely paused, and while partly awake (contract section 2)."""
        return self.is_paused or bool(self.asleep)

    @property
    def running(self) -> int:
        """Choices being said, or frozen while being said."""
        return sum(generation.unfinished for generation in list(self._running))

    @property
    def waiting(self) -> int:
        """Choices that wait for the engine to wake or to be resumed."""
        return sum(generation.unfinished for generation in list(self._waiting))

    def snapshot(self) -> Snapshot:
        """The state now, in so few words that it costs nothing to keep one with every request."""
        return Snapshot(
            self.dead, self.scheduling.value, tuple(sorted(self.asleep)), len(self._running), len(self._waiting)
        )

    # --- requests ---

    def submit(self, generation: Generation) -> None:
        """Start a generation, or let it wait while the engine is paused or asleep. A dead engine fails it."""
        if self.dead:
            self._fail([generation])
        elif self.is_paused:
            self._waiting[generation] = None
        else:
            self._start(generation)
            self._settle()

    def drop(self, generation: Generation) -> None:
        """Forget a generation whose client has gone. Nobody gets an answer."""
        self._end([generation], "dropped")

    def abort(self, request_ids: Iterable[str] | None = None) -> int:
        """End all generations, or those named, with what they have said so far.

        Returns how many; ids that are not known are counted too, as the real server does.
        """
        generations = [*self._waiting, *self._running]
        if request_ids is None:
            self._end(generations, "abort")
            return len(generations)
        names = list(request_ids)
        self._end([generation for generation in generations if generation.request_id in names], "abort")
        return len(names)

    # --- death ---

    def die(self) -> None:
        """Fail everything in flight, and whatever comes until `restart` (contract section 3, "Engine death")."""
        self.dead = True
        self._fail([*self._waiting, *self._running])

    def restart(self) -> None:
        """A fresh engine: awake and running, with nothing in flight."""
        self._fail([*self._waiting, *self._running])
        self.dead = False
        self.asleep = set()
        self.scheduling = Scheduling.RUN
        self._settle()

    def _fail(self, generations: Sequence[Generation]) -> None:
        for generation in generations:
            generation.failed = True
        self._end(generations, "error")

    # --- pausing and sleeping ---

    async def pause(self, mode: Mode = Mode.ABORT, clear_cache: bool = True) -> None:
        """Hold back new requests; `mode` says what becomes of those in flight. WAIT returns when they are done."""
        if mode is Mode.ABORT:
            self.abort()
        self.scheduling = Scheduling.PAUSED_ALL if mode is Mode.KEEP else Scheduling.PAUSED_NEW
        self._settle()
        if mode is Mode.WAIT:
            await self._idle.wait()
        if clear_cache and self.scheduling is Scheduling.PAUSED_ALL:
            # Frozen requests lose their cache: they go back to the head of the queue and are recomputed when it moves.
            self._waiting = self._running | self._waiting
            self._running = {}
            self._settle()

    def resume(self) -> None:
        """Run whatever memory is asleep or not: on a GPU this kills an engine that sleeps, and the mock serves."""
        self.scheduling = Scheduling.RUN
        waiting, self._waiting = self._waiting, {}
        for generation in waiting:
            self._start(generation)
        self._settle()

    async def sleep(self, level: int = 1, mode: Mode = Mode.ABORT) -> None:
        """Pause, and at level 1 or 2 give the memory back.

        The pause may take its time (WAIT), and a wake_up meanwhile is forgotten: the memory then sleeps while the
        scheduler runs. That race is the real server's (contract section 2).
        """
        await self.pause(mode, clear_cache=level >= 1)
        if level >= 1 and "weights" not in self.asleep:
            self.asleep = set(MEMORY_TAGS)

    def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """Wake the memory named by `tags` (None: all of it); run again once nothing sleeps.

        A tag that is not asleep makes the whole call a silent no-op. Raises EngineCallError for a tag given twice.
        """
        memory = None if tags is None else [tag for tag in tags if tag != "scheduling"]
        if self.asleep and (memory is None or memory):
            self._wake_memory(memory)
        if not self.asleep:
            self.resume()

    def _wake_memory(self, tags: Sequence[str] | None) -> None:
        wanted = list(self.asleep) if tags is None else tags
        if not self.asleep.issuperset(wanted):
            return
        self.asleep.difference_update(wanted)
        for tag in wanted:
            if wanted.count(tag) > 1:
                raise EngineCallError("wake_up", repr(tag))

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
            for generation in self._running:
                generation.advance(seconds * self.tokens_per_second)
            self._running = {generation: None for generation in self._running if not generation.finished}
            self._settle()

    def _start(self, generation: Generation) -> None:
        if self.tokens_per_second is None:
            generation.advance(float("inf"))
        else:
            self._running[generation] = None

    def _end(self, generations: Iterable[Generation], reason: str) -> None:
        for generation in generations:
            self._waiting.pop(generation, None)
            self._running.pop(generation, None)
            generation.end(reason)
        self._settle()

    def _settle(self) -> None:
        """Tell those who wait for idleness, and the clock whether there is anything to do."""
        frozen = self.scheduling is Scheduling.PAUSED_ALL
        _set(self._idle, not self._running)
        _set(self._busy, bool(self._running) and not frozen)


def _set(event: asyncio.Event, value: bool) -> None:
    if value:
        event.set()
    else:
        event.clear()
