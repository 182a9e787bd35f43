"""An engine as contract section 2 describes it, as directly as it can be written: what tests hold the mock to.

Knows nothing of the mock. Each call returns the body of its answer. A token is a second; nothing moves but by `step`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

RUN, PAUSED_NEW, PAUSED_ALL = "run", "paused_new", "paused_all"
MODES = ["abort", "wait", "keep"]
MEMORY = {"weights", "kv_cache"}
TAGS = [["weights"], ["kv_cache"], ["kv_cache", "weights"]]
ODD_TAGS = [
    ["weights", "weights"],
    ["kv_cache", "kv_cache", "weights"],
    ["junk"],
    ["weights", "junk"],
    [""],
    ["weights,kv_cache"],
    ["scheduling"],
    ["scheduling", "weights"],
    ["scheduling", "junk"],
]
"""What /wake_up may be told to wake, besides."""


class CallFailed(Exception):
    """A call into the engine that the server answers with 500, and with this message."""

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"Call to {method} method failed: {reason}")


@dataclass(eq=False)
class Request:
    """What is going to be said, by each of `choices`, and what has been."""

    tokens: int
    reason: str
    """How it ends by itself."""
    choices: int = 1
    engine_id: str = ""
    """What /abort_requests knows it by."""
    said: int = 0
    started: bool = False
    ended: str | None = None


@dataclass(eq=False)
class Pause:
    """A /sleep (with its level) or a /pause (None); not done while it waits for requests."""

    level: int | None
    clears: bool
    done: bool = False

    @property
    def answer(self) -> dict[str, Any]:
        return {"status": "paused"} if self.level is None else {"status": "sleeping", "level": self.level}


@dataclass
class EngineModel:
    """`at_once`: a request is finished the moment it starts."""

    at_once: bool = False
    sched: str = RUN
    asleep: set[str] = field(default_factory=set)
    waiting: list[Request] = field(default_factory=list)
    running: list[Request] = field(default_factory=list)
    drains: list[Pause] = field(default_factory=list)
    shown_level: int | None = None
    """The level that the metric engine_sleep_state shows; None is awake."""
    counted: Counter[str] = field(default_factory=Counter)
    """The metric request_success_total, by finish reason."""

    # --- what can be seen ---

    @property
    def is_paused(self) -> bool:
        return self.sched != RUN

    @property
    def is_sleeping(self) -> bool:
        return self.is_paused or bool(self.asleep)

    @property
    def in_flight(self) -> list[Request]:
        return self.running + self.waiting

    @property
    def shown_running(self) -> int:
        """The metric num_requests_running: it moves with engine steps only, so what was preempted is still in it."""
        return count([request for request in self.in_flight if request.started])

    # --- requests ---

    def submit(self, request: Request) -> None:
        self.waiting.append(request)
        if self.sched == RUN:
            self._start_waiting()

    def step(self, tokens: float) -> None:
        """Let so much be said by what may run."""
        if self.sched == PAUSED_ALL:
            return
        for request in self.running:
            request.said = int(min(request.tokens, request.said + tokens))
        for request in [request for request in self.running if request.said == request.tokens]:
            self._end([request], request.reason)
        self._settle_drains()

    def drop(self, request: Request) -> None:
        """The client has gone: counted nowhere."""
        self._end([request], "dropped", counted=False)
        self._settle_drains()

    def abort_requests(self, ids: Sequence[str] | None = None) -> dict[str, Any]:
        """Of several choices each counts, and what they belong to once more; unknown ids count too."""
        if ids is None:
            aborted = sum(request.choices + (request.choices > 1) for request in self.in_flight)
        else:
            aborted = len(ids)
        named = [request for request in self.in_flight if ids is None or request.engine_id in ids]
        self._end(named, "abort", counted=False)
        self._settle_drains()
        return {"status": "aborted", "aborted": aborted}

    def _end(self, requests: Sequence[Request], reason: str, counted: bool = True) -> None:
        for request in requests:
            if request.ended is None:
                request.ended = reason
                self.counted[reason] += request.choices if counted else 0
        self.waiting = [request for request in self.waiting if request.ended is None]
        self.running = [request for request in self.running if request.ended is None]

    # --- sleep and wake ---

    def sleep(self, level: int, mode: str) -> Pause:
        return self._hold(Pause(level, clears=level >= 1), mode)

    def pause(self, mode: str, clear_cache: bool) -> Pause:
        return self._hold(Pause(None, clear_cache), mode)

    def _hold(self, pause: Pause, mode: str) -> Pause:
        self.sched = PAUSED_ALL if mode == "keep" else PAUSED_NEW
        if mode == "abort":
            self._end(self.in_flight, "abort")
        if mode == "wait":
            self.drains.append(pause)
        else:
            self._complete(pause)
        self._settle_drains()
        return pause

    def _settle_drains(self) -> None:
        """Nothing runs, be it done or frozen: what has waited for that goes on."""
        if not self.running or self.sched == PAUSED_ALL:
            drains, self.drains = self.drains, []
            for pause in drains:
                self._complete(pause)

    def _complete(self, pause: Pause) -> None:
        if pause.clears and self.sched == PAUSED_ALL:
            self._preempt()
        if pause.level is not None:
            if pause.level >= 1 and "weights" not in self.asleep:
                self.asleep = set(MEMORY)
            self.shown_level = pause.level
        pause.done = True

    def _preempt(self) -> None:
        """Without their cache running requests are recomputed: they queue again, first."""
        self.running, self.waiting = [], self.running + self.waiting

    def wake_up(self, tags: Sequence[str] | None) -> dict[str, Any]:
        """Raises CallFailed on a tag given twice."""
        memory = None if tags is None else [tag for tag in tags if tag != "scheduling"]
        if memory is None:
            self.asleep = set()
        elif self.asleep.issuperset(memory):
            for tag in memory:
                if tag not in self.asleep:
                    raise CallFailed("wake_up", repr(tag))
                self.asleep.remove(tag)
        if not self.asleep:
            self.shown_level = None
            self.resume()
        return {"status": "sleeping" if self.asleep else "awake", "tags": tags}

    def resume(self) -> dict[str, Any]:
        self.sched = RUN
        self._start_waiting()
        return {"status": "resumed"}

    def _start_waiting(self) -> None:
        self.running, self.waiting = self.running + self.waiting, []
        for request in self.running:
            request.started = True
        if self.at_once:
            self.step(math.inf)

    # --- caches ---

    def reset_prefix_cache(self, reset_running: bool) -> dict[str, Any]:
        if self.running and not reset_running:
            return {"success": False}
        self._preempt()
        if self.sched == RUN:
            self._start_waiting()
        self._settle_drains()
        return {"success": True}

    def release_kv_cache_memory(self) -> None:
        """Raises CallFailed always, for there is no GPU. The memory counts as asleep then all the same."""
        method = "release_kv_cache_memory"
        if self.sched == RUN or (self.running and self.sched != PAUSED_ALL):
            raise CallFailed(method, f"{method}() requires a completed pause first")
        if self.asleep:
            raise CallFailed(method, f"{method}() requires all executor memory to be resident")
        self._preempt()
        self.asleep = {"kv_cache"}
        reason = "Selective discard is not supported on CPU."
        raise CallFailed(
            method, f"Worker failed with error '{reason}', please check the stack trace above for the root cause"
        )


def count(requests: Sequence[Request]) -> int:
    """Choices: what the engine counts."""
    return sum(request.choices for request in requests)
