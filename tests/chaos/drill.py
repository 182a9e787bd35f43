"""The drill: a training run in miniature, with everything going wrong that may.

Each step is a batch of samples, given to all workers, and then "training", for which the judge must be asleep. While
the batch is scored, workers and the server are killed, and a stranger wakes parts of the judge's memory; at which
sample, the seed says.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from chaos.fleets import Fleet, MockFleet
from chaos.processes import Worker

BATCH_SECONDS = 120.0
"""A batch that takes longer hangs."""
SLEEP_SECONDS = 60.0
"""So long after a batch that was disturbed the judge must be asleep."""
LINGER_SECONDS = 2.0
"""Longer than any pause within a batch, also on a loaded machine."""
TRAINER_GIB = 70.0
"""Of the mock's 80: it fits beside a judge that sleeps, and beside no part of one."""


def additions(batch: int, size: int) -> list[dict[str, Any]]:
    """A batch of additions, every second one wrong; the mock knows which."""
    samples = []
    for index in range(size):
        left, right = batch + 20, index + 30  # none of the canaries
        answer = left + right + index % 2
        samples.append(
            {
                "id": f"{batch}-{index}",
                "problem": f"What is {left} + {right}?",
                "solution": f"{left} + {right} = {answer}, so the answer is \\boxed{{{answer}}}.",
                "answer": str(left + right),
                "verdict": 1 - index % 2,
            }
        )
    return samples


@dataclass(frozen=True)
class Plan:
    """How big the drill is, and how much goes wrong: chances for each batch."""

    profile: str = "vllm-0.32.0"
    seed: int = 0
    processes: int = 8
    batches: int = 64
    batch_size: int = 64
    worker_killed: float = 0.25
    server_killed: float = 0.1
    part_woken: float = 0.5
    samples: Callable[[int, int], list[dict[str, Any]]] = additions
    """The samples of a batch, from its number and size. A `verdict` of None is not looked at: a real judge may err."""


@dataclass
class Report:
    """What happened."""

    plan: Plan
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    rescored: set[str] = field(default_factory=set)
    """Samples that a killed worker left behind."""
    workers_killed: int = 0
    servers_killed: int = 0
    parts_woken: int = 0
    undisturbed: int = 0
    """Batches in which nobody was killed: then the judge is asleep when the last reward is there."""
    late: list[int] = field(default_factory=list)
    """Those of them after which it was not."""
    seconds: float = 0.0
    final: list[dict[str, Any]] = field(default_factory=list)
    """What each server says of itself in the end."""
    journal: list[dict[str, Any]] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    hang: str = ""
    """Where it hung, and what could be seen then; empty if it did not."""


class Drill:
    """One run of the drill.

    Args:
        plan: of it.
        folder: for its files.
        on_batch: called after each batch.
        fleet: the judge's servers; without it mocks of the plan's profile.
    """

    def __init__(
        self, plan: Plan, folder: Path, on_batch: Callable[[], None] = lambda: None, fleet: Fleet | None = None
    ) -> None:
        self.plan = plan
        self._on_batch = on_batch
        self.report = Report(plan)
        self._random = random.Random(plan.seed)
        self._folder = folder
        self._fleet: Fleet = fleet or MockFleet(plan.profile, plan.seed, folder)
        self._workers: list[Worker] = []
        self._left = 0
        self._progress = asyncio.Event()

    async def run(self) -> Report:
        """All of it."""
        began = time.monotonic()
        await self._fleet.start()
        try:
            self._workers = [self._worker(number) for number in range(self.plan.processes)]
            await asyncio.gather(*(worker.start() for worker in self._workers))
            for batch in range(self.plan.batches):
                await self._batch(batch)
                self._on_batch()
            self.report.final = [(state or {}).get("engine", {}) for state in await self._fleet.states()]
            self.report.exit_codes = await asyncio.gather(*(worker.stop() for worker in self._workers))
        except TimeoutError:
            self.report.hang = await self._what_is_seen()
        finally:
            for worker in self._workers:
                await worker.kill()
            await self._fleet.stop()
        self.report.seconds = time.monotonic() - began
        self.report.journal = self._journal()
        return self.report

    def _worker(self, number: int) -> Worker:
        environment = {
            "GENRM_BASE_URL": self._fleet.url,
            "GENRM_SERVER_BACKEND": "sglang" if self._fleet.is_sglang else "vllm",
            "GENRM_USE_OFFLOAD": "1",
            "GENRM_BATCH_SIZE": str(self.plan.batch_size),
            "GENRM_IDLE_LINGER": str(LINGER_SECONDS),
            "GENRM_OFFLOAD_LEDGER": "file",
            "GENRM_OFFLOAD_DIR": str(self._folder / "ledger"),
            "GENRM_BASE_DELAY": "0.05",
            **self._fleet.environment,
        }
        return Worker(environment, self._note, self._folder / f"worker-{number}.log")

    def _journal(self) -> list[dict[str, Any]]:
        return [entry for path in self._fleet.journals for entry in read_lines(path)]

    def _note(self, outcome: dict[str, Any]) -> None:
        self.report.outcomes.append(outcome)
        self._left -= 1
        self._progress.set()

    async def _batch(self, number: int) -> None:
        samples = self.plan.samples(number, self.plan.batch_size)
        self._random.shuffle(samples)
        self._left = len(samples)
        events = self._events()
        before = self.report.workers_killed + self.report.servers_killed
        # The stranger comes before the first sample, while the judge sleeps, and not when it has just been put to
        # sleep: what he wakes then stays awake, as no server tells of it.
        await self._maybe_wake_a_part()
        for index, worker in enumerate(self._workers):
            await worker.give(samples[index :: len(self._workers)])
        with anyio.fail_after(BATCH_SECONDS):
            while self._left:
                self._progress.clear()
                while events and self._left <= events[-1][0]:
                    await events.pop()[1]()
                if self._left:
                    await self._progress.wait()
        if self.report.workers_killed + self.report.servers_killed == before:
            self.report.undisturbed += 1
            if not await self._train():
                self.report.late.append(number)
        with anyio.fail_after(SLEEP_SECONDS):
            while not await self._train():
                await anyio.sleep(0.02)
        await self._maybe_wake_a_part()  # while training has the memory: it does not fit
        await self._fleet.claim(0)

    async def _what_is_seen(self) -> str:
        entries = [
            f"{entry['arrived']:.3f} {entry['path']}?{entry['query']} {entry['status']} {entry['state']}"
            for entry in self._journal()
            if entry["body"] is None
        ]
        logs = [path.read_text(encoding="utf-8")[-2000:] for path in sorted(self._folder.glob("worker-*.log"))]
        # The ledger as it is kept (genrm.offload.stores).
        with closing(sqlite3.connect(next((self._folder / "ledger").iterdir()))) as ledger:
            kept = ledger.execute("SELECT state FROM ledger").fetchone()[0]
        return "\n".join(
            [f"{self._left} samples left", str(await self._fleet.states()), kept, *entries[-10:], *filter(None, logs)]
        )

    async def _train(self) -> bool:
        """Take the trainer's memory. False where it is not free: a training would be out of memory."""
        return await self._fleet.claim(TRAINER_GIB)

    def _events(self) -> list[tuple[int, Any]]:
        """What will go wrong, each when so many samples are left; the next one last."""
        events = [
            (self._random.randrange(1, self.plan.batch_size), event)
            for event, chance in (
                (self._kill_a_worker, self.plan.worker_killed),
                (self._kill_the_server, self.plan.server_killed),
            )
            if self._random.random() < chance
        ]
        return sorted(events, key=lambda event: event[0])

    async def _kill_a_worker(self) -> None:
        number = self._random.randrange(len(self._workers))
        left = await self._workers[number].kill()
        self.report.workers_killed += 1
        self.report.rescored.update(sample["id"] for sample in left)
        self._workers[number] = self._worker(number)
        await self._workers[number].start()
        await self._workers[number].give(left)

    async def _kill_the_server(self) -> None:
        self.report.servers_killed += 1
        await self._fleet.kill_one(self._random)

    async def _maybe_wake_a_part(self) -> None:
        # SGLang dies when the rest is to be resumed then, whoever asks for it.
        if self._random.random() < self.plan.part_woken and not self._fleet.is_sglang:
            self.report.parts_woken += 1
            await self._fleet.wake_a_part(self._random)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines. A server that is killed may leave half of one, in which the next goes on."""
    lines = (_object_in(line) for line in path.read_bytes().split(b"\n"))
    return [line for line in lines if line]


def _object_in(line: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


async def run(plan: Plan, on_batch: Callable[[], None] = lambda: None) -> Report:
    """Run the drill in a folder that is removed after it."""
    with tempfile.TemporaryDirectory() as folder:
        return await Drill(plan, Path(folder), on_batch).run()
