"""What one event loop does when a server is not as its lease says, or as the ledger says."""

from __future__ import annotations

import asyncio
import time

import pytest

from genrm.errors import JudgeError, JudgeTimeout, OffloadError
from genrm.offload.ledger import Call, Duty, Phase, Policy
from genrm.offload.servers import Seen
from offload_support import FakeJudge, MemoryStore, an_offload, eventually, settled

pytestmark = pytest.mark.usefixtures("quick", "no_task_is_left")


class TestRestored:
    async def test_it_sleeps(self) -> None:
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            wakes = offload.wakes
            judge.seen = Seen.ASLEEP
            assert await offload.restored(wakes)
            assert judge.seen is Seen.AWAKE
        await offload.aclose()

    async def test_it_was_awake_all_the_time(self) -> None:
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            assert not await offload.restored(offload.wakes)
        await offload.aclose()

    async def test_it_is_gone_and_comes_back(self) -> None:
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            judge.seen = Seen.GONE
            waiting = asyncio.create_task(offload.restored(offload.wakes))
            looked = judge.looks
            await eventually(lambda: judge.looks > looked + 1)
            assert not waiting.done()
            judge.seen = Seen.AWAKE
            assert await waiting
        await offload.aclose()

    async def test_all_who_see_it_asleep_wake_it_once(self) -> None:
        store, judge = MemoryStore(), FakeJudge()
        users = [an_offload(store, judge) for _ in range(4)]

        async def sample(number: int) -> bool:
            async with users[number % 4].awake():
                wakes = users[number % 4].wakes
                judge.seen = Seen.ASLEEP
                return await users[number % 4].restored(wakes)

        assert all(await asyncio.gather(*(sample(number) for number in range(16))))
        for user in users:
            await user.aclose()

    async def test_a_wake_that_fails_is_raised(self) -> None:
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            judge.seen = Seen.ASLEEP
            judge.errors["wake"] = [OffloadError("no memory")] * 1000
            with pytest.raises((OffloadError, JudgeError), match="no memory"):
                await offload.restored(offload.wakes)
            judge.errors.clear()
        await offload.aclose()


async def test_a_sleep_that_was_broken_off_is_finished_before_the_next_wake() -> None:
    """The server may still be draining: a wake_up now is forgotten, and it sleeps while requests come (the RACE)."""
    store, judge = MemoryStore(Policy(linger=0.05)), FakeJudge()
    judge.gates["sleep"] = asyncio.Event()
    leaves, stays = an_offload(store, judge), an_offload(store, judge)
    async with stays.awake():
        pass
    async with leaves.awake():
        pass
    await eventually(lambda: judge.told == ["wake", "sleep"])
    owner, other = (leaves, stays) if leaves._transition else (stays, leaves)
    closing = asyncio.create_task(owner.aclose())
    await settled(store, Phase.UNKNOWN)
    judge.gates.clear()
    async with other.awake():
        assert judge.told == ["wake", "sleep", "finish and wake"]
    await closing
    await other.aclose()


async def test_a_sleep_that_failed_is_finished_before_the_next_wake() -> None:
    store, judge = MemoryStore(Policy(linger=60, batch_size=1)), FakeJudge()
    judge.errors["sleep"] = [JudgeTimeout("http://judge/sleep", "no answer within 60 s")]
    judge.gates["sleep"] = asyncio.Event()
    offload = an_offload(store, judge)
    last = asyncio.create_task(offload.scored())
    await settled(store, Phase.FALLING)
    judge.gates["sleep"].set()
    await settled(store, Phase.UNKNOWN)
    async with offload.awake():
        assert judge.told == ["sleep", "finish and wake"]
    await last
    await offload.aclose()


async def test_a_sleep_that_was_refused_needs_no_finishing() -> None:
    """A server that cannot sleep at all is still a judge."""
    store, judge = MemoryStore(Policy(linger=60, batch_size=1)), FakeJudge()
    judge.errors["sleep"] = [OffloadError("HTTP 500")]
    judge.gates["sleep"] = asyncio.Event()
    offload = an_offload(store, judge)
    last = asyncio.create_task(offload.scored())
    await settled(store, Phase.FALLING)
    judge.gates["sleep"].set()
    await settled(store, Phase.UNKNOWN)
    async with offload.awake():
        assert judge.told == ["sleep", "wake"]
    await last
    await offload.aclose()


async def test_a_transition_that_was_superseded_says_nothing() -> None:
    """A loop hung, others took its transition over, and then it is given another one: that one is not over."""
    store, judge = MemoryStore(Policy(linger=0.05)), FakeJudge(Seen.ASLEEP)
    judge.gates["wake"] = asyncio.Event()
    offload = an_offload(store, judge)
    waiting = asyncio.create_task(offload._acquire())
    await eventually(lambda: judge.told == ["wake"])
    # What another one did meanwhile:
    store.ledger._settle(Phase.UNKNOWN)
    store.state.since = time.time()
    judge.gates["sleep"] = asyncio.Event()
    store.ledger._begin(Phase.FALLING, store.state.entries[offload._ledger.holder.key])
    offload._begin(Duty.SLEEP)
    await eventually(lambda: judge.told == ["wake", "sleep"])
    await offload._ledger.beat()
    assert store.state.phase is Phase.FALLING
    judge.gates["sleep"].set()
    judge.gates["wake"].set()
    await waiting
    offload._release()
    await offload.aclose()


async def test_calls_of_others_do_not_pass_for_mine() -> None:
    """Two loops of one process are two holders."""
    store, judge = MemoryStore(), FakeJudge()
    one, two = an_offload(store, judge), an_offload(store, judge)
    async with one.awake():
        await two._ledger.send("release")
        assert store.state.leases == 1
        assert store.ledger.apply(Call("look", two._ledger.holder), time.time()).leases == 1
    await one.aclose()
    await two.aclose()
