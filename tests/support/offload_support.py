"""An offload without files and servers: a ledger in memory, and a judge's memory that does as a test says."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from genrm.offload.lease import Offload
from genrm.offload.ledger import Answer, Call, Ledger, Phase, Policy, State
from genrm.offload.memory import MemoryWatch
from genrm.offload.servers import Seen

PATIENCE = 30.0
"""Seconds; for a machine that has come to a halt."""


class MemoryStore:
    """One ledger for all who are given this. `failure`: what `apply` raises; `gate`: what it waits for."""

    def __init__(self, policy: Policy | None = None, state: State | None = None) -> None:
        self.where = "nowhere"
        self.ledger = Ledger(policy or Policy(linger=60), state or State())
        self.clock: Callable[[], float] = time.time
        self.batches: list[list[str]] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0

    @property
    def state(self) -> State:
        """What the ledger holds."""
        return self.ledger.state

    async def apply(self, calls: Sequence[Call]) -> list[Answer]:
        """As `genrm.offload.stores.Store.apply`."""
        self.batches.append([call.name for call in calls])
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return [self.ledger.apply(call, self.clock()) for call in calls]

    async def read(self) -> State:
        """As `genrm.offload.stores.Store.read`."""
        return self.state

    async def aclose(self) -> None:
        """As `genrm.offload.stores.Store.aclose`."""
        self.closed += 1

    def count(self, name: str) -> int:
        """How many such calls there were."""
        return sum(batch.count(name) for batch in self.batches)


class FakeJudge:
    """The servers of a judge, and the gateway to them: what it was told, and what it was seen to be.

    Attributes:
        seen: what it is.
        told: what it was told, in order.
        errors: what the next calls of that name raise, one after the other.
        gates: what calls of that name wait for.
    """

    def __init__(self, seen: Seen = Seen.AWAKE) -> None:
        self.seen = seen
        self.told: list[str] = []
        self.looks = 0
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.gates: dict[str, asyncio.Event] = {}
        self.closed = 0

    async def servers(self) -> FakeJudge:
        """As `genrm.offload.lease.Gateway.servers`."""
        return self

    async def aclose(self) -> None:
        """As `genrm.offload.lease.Gateway.aclose`."""
        self.closed += 1

    async def look(self, to_sleep: bool = False) -> Seen:
        """As `Servers.look`."""
        self.looks += 1
        await self._pass("look")
        return self.seen

    async def sleep(self) -> None:
        """As `Servers.sleep`."""
        self.told.append("sleep")
        await self._pass("sleep")
        self.seen = Seen.ASLEEP

    async def wake(self, finish_sleep: bool = False) -> None:
        """As `Servers.wake`."""
        self.told.append("finish and wake" if finish_sleep else "wake")
        await self._pass("wake")
        self.seen = Seen.AWAKE

    async def _pass(self, name: str) -> None:
        await asyncio.sleep(0)
        if name in self.gates:
            await self.gates[name].wait()
        if self.errors[name]:
            raise self.errors[name].pop(0)


def an_offload(store: MemoryStore, judge: FakeJudge, wake_seconds: float = 60, sleep_seconds: float = 60) -> Offload:
    """One user of that judge; close it."""
    return Offload(
        store,
        judge,  # type: ignore[arg-type] # it stands for the servers, too
        MemoryWatch(None),
        linger=store.ledger.policy.linger,
        wake_seconds=wake_seconds,
        sleep_seconds=sleep_seconds,
    )


async def eventually(condition: Callable[[], object]) -> None:
    """Until it holds; fails the test where it never does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.002)


async def settled(store: MemoryStore, phase: Phase) -> None:
    """Until the ledger is in that phase."""
    await eventually(lambda: store.state.phase is phase)
