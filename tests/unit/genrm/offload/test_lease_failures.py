"""What one event loop does with its leases when the ledger fails or is lost, and when the unthinkable happens."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from genrm.errors import OffloadError
from genrm.offload.ledger import Phase, Policy
from genrm.offload.servers import Seen
from offload_support import PATIENCE, FakeJudge, MemoryStore, an_offload, eventually, settled

pytestmark = pytest.mark.usefixtures("quick", "no_task_is_left")


async def test_what_nobody_thought_of_is_raised_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Rather than waited for until the end of time by all, with a dead warden."""
    store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
    judge.errors["wake"] = [RecursionError("who would have thought")]
    judge.gates["wake"] = asyncio.Event()
    offload = an_offload(store, judge)
    waiting = asyncio.create_task(offload._acquire())
    await eventually(lambda: judge.told)
    judge.gates["wake"].set()
    with pytest.raises(RecursionError):
        await waiting
    async with offload.awake():
        judge.errors["look"] = [RecursionError("nor of this")]
        await eventually(lambda: not judge.errors["look"])
        before = store.count("beat")
        await eventually(lambda: store.count("beat") > before + 1)
    assert "who would have thought" in caplog.text
    assert "Traceback" in caplog.text
    await offload.aclose()


class TestAFailingLedger:
    async def test_callers_are_told_and_it_recovers(self) -> None:
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        store.failure = OffloadError("disk full")
        with pytest.raises(OffloadError, match="disk full"):
            async with offload.awake():
                pass
        with pytest.raises(OffloadError, match="disk full"):
            await offload.scored()
        store.failure = None
        async with offload.awake():
            assert judge.seen is Seen.AWAKE
        await offload.aclose()

    async def test_a_lease_that_could_not_be_given_back_is_given_back_later(self) -> None:
        store, judge = MemoryStore(Policy(linger=0.05)), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            store.failure = OffloadError("disk full")
        await eventually(lambda: store.batches[-1] == ["release"] or "release" in store.batches[-1])
        await asyncio.sleep(0)
        store.failure = None
        with anyio.fail_after(PATIENCE):
            await settled(store, Phase.ASLEEP)
        await offload.aclose()

    async def test_the_end_of_a_transition_that_could_not_be_told_is_told_later(self) -> None:
        store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
        judge.gates["wake"] = asyncio.Event()
        offload, other = an_offload(store, judge), an_offload(store, judge)
        waiting = asyncio.create_task(offload._acquire())
        await settled(store, Phase.WAKING)
        store.failure = OffloadError("disk full")
        judge.gates["wake"].set()
        with pytest.raises(OffloadError, match="disk full"):
            await waiting
        store.failure = None
        with anyio.fail_after(PATIENCE):
            async with other.awake():
                assert judge.seen is Seen.AWAKE
        await offload.aclose()
        await other.aclose()

    async def test_leaving_is_not_held_up(self, caplog: pytest.LogCaptureFixture) -> None:
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            pass
        store.failure = OffloadError("disk full")
        await offload.aclose()
        assert "disk full" in caplog.text
        assert (store.closed, judge.closed) == (1, 1)


class TestALostLedger:
    def lose(self, store: MemoryStore) -> None:
        store.ledger.state = type(store.state)()

    async def test_nobody_is_put_to_sleep_before_all_have_been_heard(self) -> None:
        store, judge = MemoryStore(Policy(linger=5.0)), FakeJudge()
        holds, idle = an_offload(store, judge), an_offload(store, judge)
        async with holds.awake():
            async with idle.awake():
                pass
            await eventually(lambda: store.state.leases == 1)
            self.lose(store)
            await idle._ledger.beat()  # the first to be heard holds nothing
            await eventually(lambda: store.state.leases == 1)
            assert "sleep" not in judge.told
        await holds.aclose()
        await idle.aclose()

    async def test_who_holds_a_lease_of_a_judge_that_sleeps_wakes_it(self) -> None:
        """It was put to sleep while the lease was not known; requests hang in it."""
        store, judge = MemoryStore(), FakeJudge()
        offload = an_offload(store, judge)
        async with offload.awake():
            store.ledger._settle(Phase.ASLEEP)
            judge.seen = Seen.ASLEEP
            with anyio.fail_after(PATIENCE):
                await eventually(lambda: judge.seen is Seen.AWAKE)
                await settled(store, Phase.AWAKE)
        await offload.aclose()
