"""The way to the ledger: what goes there together, in which order, and what a cancelled or failed call leaves."""

from __future__ import annotations

import asyncio

import pytest

from genrm.errors import OffloadError
from genrm.offload.ledger import Duty, Phase
from genrm.offload.shared import SharedLedger
from offload_support import MemoryStore, eventually


async def test_calls_made_while_one_is_under_way_go_together() -> None:
    store = MemoryStore()
    shared = SharedLedger(store, lambda duty: None)
    store.gate.clear()
    first = shared.send("look")
    await eventually(lambda: store.batches)
    calls = [shared.send(name) for name in ("need", "look")]
    beat = shared.beat()
    store.gate.set()
    await asyncio.gather(first, beat, *calls)
    assert store.batches == [["look"], ["beat", "need", "look"]]
    await shared.aclose()
    assert store.closed == 1


async def test_answers_come_to_who_asked() -> None:
    store = MemoryStore()
    duties: list[Duty] = []
    shared = SharedLedger(store, duties.append)
    answers = await asyncio.gather(shared.send("need"), shared.send("look"), shared.send("done", Phase.AWAKE))
    assert [answer.duty for answer in answers] == [Duty.WAKE, Duty.NONE, Duty.NONE]
    assert duties == [Duty.WAKE]
    await shared.aclose()


async def test_a_beat_tells_the_leases_before_the_calls_that_go_with_it() -> None:
    store = MemoryStore()
    shared = SharedLedger(store, lambda duty: None)
    await asyncio.gather(shared.send("need"), shared.send("done", Phase.AWAKE), shared.acquire(), shared.acquire())
    assert shared.leases == store.state.leases == 2
    store.state.entries.clear()  # lost
    release, beat, third = shared.send("release"), shared.beat(), asyncio.create_task(shared.acquire())
    await asyncio.gather(release, beat, third)
    assert shared.leases == store.state.leases == 2
    await shared.aclose()


async def test_what_failed_is_told_to_all_who_asked_and_what_has_happened_is_told_later() -> None:
    store = MemoryStore()
    shared = SharedLedger(store, lambda duty: None)
    await asyncio.gather(shared.send("need"), shared.send("done", Phase.AWAKE), shared.acquire())
    store.failure = OffloadError("full")
    for future in (shared.send("look"), shared.send("release")):
        with pytest.raises(OffloadError, match="full"):
            await future
    assert (shared.leases, store.state.leases) == (1, 1)
    store.failure = None
    await shared.beat()
    assert (shared.leases, store.state.leases) == (0, 0)
    await shared.aclose()


@pytest.mark.parametrize("granted", [True, False])
async def test_closing_waits_for_what_was_asked(granted: bool) -> None:
    store = MemoryStore()
    shared = SharedLedger(store, lambda duty: None)
    if granted:
        await asyncio.gather(shared.send("need"), shared.send("done", Phase.AWAKE))
    future = shared.send("acquire")
    await shared.aclose()
    assert future.result().granted is granted
