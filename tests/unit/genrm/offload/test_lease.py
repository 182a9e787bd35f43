"""What one event loop does with its leases: wakes, sleeps, looks, cancellations and failures at any moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import anyio
import pytest

from genrm.errors import JudgeTimeout, JudgeUnreachable, OffloadError, OffloadRefused
from genrm.offload import ledger
from genrm.offload.ledger import Phase, Policy
from genrm.offload.servers import Seen
from offload_support import PATIENCE, FakeJudge, MemoryStore, an_offload, eventually, settled

pytestmark = pytest.mark.usefixtures("quick", "no_task_is_left")


async def test_the_first_lease_wakes_and_the_end_sleeps() -> None:
    store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
    offload = an_offload(store, judge)
    async with offload.awake():
        assert (judge.seen, store.state.leases, offload.wakes) == (Seen.AWAKE, 1, 1)
        async with offload.awake():
            assert store.state.leases == 2
    await eventually(lambda: not store.state.leases)
    assert judge.told == ["wake"]
    await offload.aclose()
    assert (judge.told, judge.seen) == (["wake", "sleep"], Seen.ASLEEP)
    assert (store.closed, judge.closed, store.state.entries) == (1, 1, {})


async def test_nothing_is_told_where_nothing_was_asked() -> None:
    store, judge = MemoryStore(), FakeJudge()
    await an_offload(store, judge).aclose()
    assert (judge.told, store.batches, store.closed, judge.closed) == ([], [], 1, 1)


async def test_many_leases_at_once_wake_once() -> None:
    store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
    users = [an_offload(store, judge) for _ in range(4)]

    async def score(number: int) -> None:
        async with users[number % 4].awake():
            assert judge.seen is Seen.AWAKE
            await asyncio.sleep(0)

    await asyncio.gather(*(score(number) for number in range(64)))
    for user in users:
        await user.aclose()
    assert judge.told == ["wake", "sleep"]


async def test_after_the_linger_it_sleeps() -> None:
    store, judge = MemoryStore(Policy(linger=0.05)), FakeJudge()
    offload = an_offload(store, judge)
    async with offload.awake():
        await eventually(lambda: store.count("beat") > 3)
        assert judge.told == ["wake"]
    await settled(store, Phase.ASLEEP)
    await offload.aclose()
    assert judge.told == ["wake", "sleep"]


async def test_no_linger_at_all_still_lets_everybody_in_who_waited_for_the_wake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beats come every few milliseconds from each user; none may put it to sleep before who woke it has his lease."""
    monkeypatch.setattr(ledger, "GRACE_SECONDS", 60.0)  # not a matter of time here
    store, judge = MemoryStore(Policy(linger=0.0)), FakeJudge(Seen.ASLEEP)
    users = [an_offload(store, judge) for _ in range(8)]
    release = asyncio.Event()

    async def score(number: int) -> None:
        async with users[number % 8].awake():
            await release.wait()

    samples = [asyncio.create_task(score(number)) for number in range(16)]
    with anyio.fail_after(PATIENCE):
        await eventually(lambda: store.state.leases == 16)
    assert judge.told == ["wake"]
    release.set()
    await asyncio.gather(*samples)
    await settled(store, Phase.ASLEEP)
    for user in users:
        await user.aclose()
    assert judge.told == ["wake", "sleep"]


async def test_the_last_of_a_batch_returns_when_it_sleeps() -> None:
    store, judge = MemoryStore(Policy(linger=60, batch_size=3)), FakeJudge()
    users = [an_offload(store, judge) for _ in range(3)]
    seen = []

    async def score(number: int) -> None:
        async with users[number].awake():
            await asyncio.sleep(0)
        await users[number].scored()
        seen.append(judge.seen)

    await asyncio.gather(*(score(number) for number in range(3)))
    assert seen[-1] is Seen.ASLEEP
    assert judge.told == ["wake", "sleep"]
    for user in users:
        await user.aclose()
    assert judge.told == ["wake", "sleep"]


async def test_a_batch_that_needed_no_judge_ends_asleep_too() -> None:
    store, judge = MemoryStore(Policy(linger=60, batch_size=2)), FakeJudge()
    offload = an_offload(store, judge)
    await offload.scored()
    await offload.scored()
    assert judge.seen is Seen.ASLEEP
    await offload.aclose()
    assert judge.told == ["sleep"]


async def test_a_sleep_that_takes_too_long_does_not_hold_the_reward(caplog: pytest.LogCaptureFixture) -> None:
    store, judge = MemoryStore(Policy(linger=60, batch_size=1)), FakeJudge()
    judge.gates["sleep"] = asyncio.Event()
    offload = an_offload(store, judge, sleep_seconds=0.05)
    await offload.scored()
    assert "could not be put to sleep" in caplog.text
    judge.gates["sleep"].set()
    await offload.aclose()
    assert judge.seen is Seen.ASLEEP


async def test_a_sleep_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    store, judge = MemoryStore(Policy(linger=60, batch_size=1)), FakeJudge()
    judge.errors["sleep"] = [OffloadError("HTTP 500"), JudgeTimeout("http://judge", "no answer")]
    offload = an_offload(store, judge)
    await offload.scored()
    assert judge.told == ["sleep"] * 3
    assert caplog.text.count("HTTP 500") == 1
    await offload.aclose()


async def test_who_waits_for_the_wake_is_not_told_that_the_sleep_before_it_failed() -> None:
    store, judge = MemoryStore(Policy(linger=60, batch_size=1)), FakeJudge()
    judge.gates["sleep"] = asyncio.Event()
    judge.errors["sleep"] = [OffloadError("HTTP 500")]
    offload = an_offload(store, judge)
    last = asyncio.create_task(offload.scored())
    await eventually(lambda: judge.told == ["sleep"])
    next_sample = asyncio.create_task(offload._acquire())
    await eventually(lambda: store.count("acquire"))
    judge.gates["sleep"].set()
    await next_sample
    assert judge.seen is Seen.AWAKE
    offload._release()
    await last
    await offload.aclose()


@pytest.mark.parametrize("error", [OffloadRefused("no dev mode"), JudgeUnreachable("http://judge", "refused")])
async def test_a_wake_that_fails_is_raised_to_all_who_wait(error: Exception) -> None:
    store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
    judge.errors["wake"] = [error]
    judge.gates["wake"] = asyncio.Event()
    offload = an_offload(store, judge)
    waiting = [asyncio.create_task(offload._acquire()) for _ in range(5)]
    await eventually(lambda: store.count("acquire") == 5)
    judge.gates["wake"].set()
    assert await asyncio.gather(*waiting, return_exceptions=True) == [error] * 5
    assert store.state.leases == 0
    async with offload.awake():  # and the next one tries again
        assert judge.seen is Seen.AWAKE
    await offload.aclose()


async def test_a_wake_that_takes_too_long_is_a_timeout_of_the_judge() -> None:
    store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
    judge.gates["wake"] = asyncio.Event()
    offload = an_offload(store, judge, wake_seconds=0.05)
    with pytest.raises(JudgeTimeout, match="did not wake up within"):
        async with offload.awake():
            pass
    await settled(store, Phase.UNKNOWN)
    assert store.state.leases == 0
    judge.gates["wake"].set()
    await offload.aclose()


async def test_cancelled_at_any_moment_nobody_holds_a_lease() -> None:
    """Each step that entering and leaving takes is cancelled once, with the judge asleep and with it awake."""
    for seen in (Seen.ASLEEP, Seen.AWAKE):
        for steps in range(40):
            store, judge = MemoryStore(), FakeJudge(seen)
            offload, other = an_offload(store, judge), an_offload(store, judge)
            async with other.awake():
                pass

            async def score(offload: object = offload) -> None:
                async with offload.awake():  # type: ignore[attr-defined]
                    await asyncio.sleep(0)

            task = asyncio.create_task(score())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with anyio.fail_after(PATIENCE):
                await eventually(lambda store=store: not store.state.leases)  # type: ignore[misc]
                await eventually(lambda offload=offload: not offload._ledger.leases)  # type: ignore[misc]
            await offload.aclose()
            await other.aclose()
            assert judge.seen is Seen.ASLEEP
            assert store.state.entries == {}


async def test_closed_at_any_moment_nothing_is_left_in_the_ledger() -> None:
    """A loop ends (asyncio.run cancels all tasks, then closes) while its samples come, wait and go."""
    for steps in range(30):
        store, judge = MemoryStore(), FakeJudge(Seen.ASLEEP)
        offload = an_offload(store, judge)

        async def score(offload: object = offload) -> None:
            async with offload.awake():  # type: ignore[attr-defined]
                await asyncio.sleep(0)

        mine = asyncio.all_tasks()
        samples = [asyncio.create_task(score()) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - mine:
            task.cancel()
        await asyncio.wait(samples)
        await offload.aclose()
        assert store.state.entries == {}, f"after {steps} steps"
        if "wake" in judge.told:
            assert (judge.told[-1], judge.seen) == ("sleep", Seen.ASLEEP)


async def test_a_stranger_who_puts_it_to_sleep_is_noticed_while_replies_are_awaited() -> None:
    store, judge = MemoryStore(), FakeJudge()
    offload = an_offload(store, judge)
    async with offload.awake():
        judge.seen = Seen.ASLEEP
        await eventually(lambda: judge.told == ["wake", "wake"])
        await settled(store, Phase.AWAKE)
    await offload.aclose()


async def test_a_server_that_comes_back_awake_while_it_should_sleep_is_put_to_sleep() -> None:
    store, judge = MemoryStore(Policy(linger=0.05)), FakeJudge()
    offload = an_offload(store, judge)
    async with offload.awake():
        pass
    await settled(store, Phase.ASLEEP)
    judge.seen = Seen.AWAKE
    await eventually(lambda: judge.told == ["wake", "sleep", "sleep"])
    await settled(store, Phase.ASLEEP)
    await offload.aclose()
    assert judge.told == ["wake", "sleep", "sleep"]


async def test_signs_of_life_go_on_while_a_server_does_not_answer() -> None:
    """Who is silent for half a minute is taken for dead on another host, and his leases are gone."""
    store, judge = MemoryStore(), FakeJudge()
    offload = an_offload(store, judge)
    async with offload.awake():
        judge.gates["look"] = asyncio.Event()
        await eventually(lambda: judge.looks)
        before = store.count("beat")
        with anyio.fail_after(PATIENCE):
            await eventually(lambda: store.count("beat") > before + 2)
    judge.gates["look"].set()
    await offload.aclose()


async def test_the_warden_outlives_what_it_cannot_do(caplog: pytest.LogCaptureFixture) -> None:
    store, judge = MemoryStore(), FakeJudge()
    offload = an_offload(store, judge)
    async with offload.awake():
        judge.errors["look"] = [OffloadRefused("gone mad"), JudgeUnreachable("http://router", "no answer")]
        await eventually(lambda: not judge.errors["look"])
        store.failure = OffloadError("disk full")
        await eventually(lambda: "disk full" in caplog.text)
        store.failure = None
        before = store.count("beat")
        await eventually(lambda: store.count("beat") > before + 1)
    assert "gone mad" in caplog.text
    await offload.aclose()
