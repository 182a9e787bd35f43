"""What is bound to an event loop: made once for each, shared within, closed with it."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from genrm.per_loop import PerLoop
from genrm.single_flight import SingleFlight


class Door:
    made: ClassVar[list[Door]] = []

    def __init__(self) -> None:
        self.closed = 0
        self.made.append(self)

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1


@pytest.fixture(autouse=True)
def _no_doors() -> None:
    Door.made.clear()


def test_one_for_each_loop_closed_when_it_ends() -> None:
    doors = PerLoop(Door)

    async def enter_twice() -> bool:
        return await doors.get() is await doors.get()

    for count in (1, 2):
        assert asyncio.run(enter_twice())
        assert [door.closed for door in Door.made] == [1] * count


async def test_tasks_that_come_at_once_share_one() -> None:
    doors = PerLoop(Door)
    assert len(set(await asyncio.gather(*(doors.get() for _ in range(5))))) == 1
    await doors.aclose()
    assert [door.closed for door in Door.made] == [1]
    await doors.aclose()
    assert (await doors.get()).closed == 0
    await doors.aclose()
    assert [door.closed for door in Door.made] == [1, 1]


def test_loops_that_were_closed_the_hard_way_are_forgotten() -> None:
    doors = PerLoop(Door)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(doors.get())
    loop.close()

    async def enter() -> int:
        await doors.get()
        return len(doors._held)

    assert asyncio.run(enter()) == 1


async def test_one_call_for_the_same_key() -> None:
    flights: SingleFlight[int] = SingleFlight()
    calls, go = 0, asyncio.Event()

    async def call() -> int:
        nonlocal calls
        calls += 1
        await go.wait()
        return calls

    waiting = [asyncio.ensure_future(flights.run("k", call)) for _ in range(4)]
    other = asyncio.ensure_future(flights.run("other", call))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*waiting) == [2] * 4
    assert await other == 2
    assert calls == 2
    assert await flights.run("k", call) == 3


async def test_errors_are_shared() -> None:
    flights: SingleFlight[int] = SingleFlight()

    async def call() -> int:
        raise ValueError("no")

    results = await asyncio.gather(*(flights.run("k", call) for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 3


async def test_one_that_is_cancelled_leaves_the_others_alone_the_last_cancels_the_call() -> None:
    flights: SingleFlight[str] = SingleFlight()
    go, cancelled = asyncio.Event(), asyncio.Event()

    async def call() -> str:
        try:
            await go.wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "done"

    first, second = (asyncio.ensure_future(flights.run("k", call)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not cancelled.is_set()
    third = asyncio.ensure_future(flights.run("k", call))
    await asyncio.sleep(0)
    second.cancel()
    third.cancel()
    await cancelled.wait()
    go.set()
    assert await flights.run("k", call) == "done"
