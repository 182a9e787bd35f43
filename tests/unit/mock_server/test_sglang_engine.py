"""SGLang's state machine by hand, without HTTP and without a clock."""

from __future__ import annotations

import asyncio

import pytest

from mock_server.engine.generation import Generation, Plan
from mock_server.engine.sglang import PauseMode, SglangEngine
from mock_server.engine.sglang_memory import SglangMemory
from mock_server.errors import SchedulerCrash

TEN = Plan(b"0123456789", 11, "stop")
ALL = {"kv_cache", "weights", "cuda_graph"}


@pytest.fixture
def engine() -> SglangEngine:
    """One token a second, and no clock: time passes by `step`."""
    return SglangEngine(tokens_per_second=1, memory=SglangMemory(saver=True))


def submitted(engine: SglangEngine, name: str = "a") -> Generation:
    generation = Generation(name, [TEN])
    engine.submit(generation)
    return generation


def said(generation: Generation) -> tuple[str, str | None]:
    return generation.choices[0].text, generation.choices[0].finish_reason


class TestPauses:
    async def test_abort_ends_what_runs_and_holds_back_what_comes(self, engine: SglangEngine) -> None:
        running = submitted(engine)
        engine.step(3)
        await engine.pause_generation(PauseMode.ABORT)
        assert said(running) == ("012", "abort")
        blocked = submitted(engine)
        await engine.pause_generation(PauseMode.ABORT)
        engine.abort()
        engine.step(100)
        assert said(blocked) == ("", None)  # the tokenizer holds it; the scheduler knows nothing of it
        engine.continue_generation()
        engine.step(100)
        assert said(blocked) == ("0123456789", "stop")

    async def test_in_place_freezes(self, engine: SglangEngine) -> None:
        running = submitted(engine)
        engine.step(3)
        await engine.pause_generation(PauseMode.IN_PLACE)
        engine.step(100)
        assert said(running) == ("012", None)
        assert not engine.flush_cache()
        engine.continue_generation()
        engine.step(2)
        assert said(running) == ("01234", None)

    async def test_aborted_in_place_ends_when_it_moves_again(self, engine: SglangEngine) -> None:
        running, other = submitted(engine, "a"), submitted(engine, "b")
        engine.step(3)
        await engine.pause_generation(PauseMode.IN_PLACE)
        engine.abort(["a"])
        assert said(running) == ("012", None)
        engine.continue_generation()
        assert said(running) == ("012", "abort")
        assert said(other) == ("012", None)

    async def test_a_pause_that_aborts_waits_for_what_is_frozen(self, engine: SglangEngine) -> None:
        submitted(engine)
        await engine.pause_generation(PauseMode.IN_PLACE)
        pausing = asyncio.create_task(engine.pause_generation(PauseMode.ABORT))
        await asyncio.sleep(0)
        assert not pausing.done()
        engine.continue_generation()
        await pausing

    async def test_retracted_requests_wait_and_go_on(self, engine: SglangEngine) -> None:
        running, aborted = submitted(engine, "a"), submitted(engine, "b")
        engine.step(3)
        await engine.pause_generation(PauseMode.RETRACT)
        assert engine.flush_cache()
        engine.release(None)  # idle: nothing runs, something waits
        engine.reclaim(None)
        engine.abort(["b"])
        assert said(aborted) == ("", "abort")  # the queue does not know what it has said
        engine.continue_generation()
        engine.step(100)
        assert said(running) == ("0123456789", "stop")


class TestAbort:
    def test_by_id_and_what_begins_with_it(self, engine: SglangEngine) -> None:
        generations = {name: submitted(engine, name) for name in ("a", "a_1", "b")}
        assert engine.abort(["a"]) == 2
        assert [name for name, each in generations.items() if said(each)[1] == "abort"] == ["a", "a_1"]

    @pytest.mark.parametrize("name", ["b", "nobody"])
    def test_a_beginning_alone_is_no_request(self, engine: SglangEngine, name: str) -> None:
        running = submitted(engine, "beginning")
        assert engine.abort([name]) == 0
        assert said(running)[1] is None


class TestMemory:
    def test_all_of_it(self, engine: SglangEngine) -> None:
        engine.release(None)
        assert engine.asleep == ALL
        engine.reclaim([])
        assert engine.asleep == set()

    def test_by_tags_and_twice(self, engine: SglangEngine) -> None:
        engine.release(["kv_cache"])
        engine.release(["kv_cache", "coffee"])
        engine.reclaim(["coffee"])
        assert engine.asleep == {"kv_cache"}

    def test_while_busy(self, engine: SglangEngine) -> None:
        submitted(engine)
        with pytest.raises(SchedulerCrash, match="only when server is idle"):
            engine.release(None)

    async def test_while_frozen(self, engine: SglangEngine) -> None:
        submitted(engine)
        await engine.pause_generation(PauseMode.IN_PLACE)
        with pytest.raises(SchedulerCrash):
            engine.release(None)

    @pytest.mark.parametrize(("released", "resumed"), [([], None), (["kv_cache"], None), (["kv_cache"], ["weights"])])
    def test_what_is_not_released(self, engine: SglangEngine, released: list[str], resumed: list[str] | None) -> None:
        for tag in released:
            engine.release([tag])
        with pytest.raises(SchedulerCrash, match="KeyError"):
            engine.reclaim(resumed)

    def test_nothing_holds_requests_back(self, engine: SglangEngine) -> None:
        engine.release(None)
        generation = submitted(engine)
        engine.step(100)
        assert said(generation) == ("0123456789", "stop")

    @pytest.mark.parametrize(
        ("saver", "backup", "lost"), [(False, False, False), (True, False, True), (True, True, False)]
    )
    def test_whether_the_weights_come_back(self, saver: bool, backup: bool, lost: bool) -> None:
        engine = SglangEngine(memory=SglangMemory(saver=saver, backup=backup))
        engine.release(["kv_cache"])
        assert engine.memory.facts["weights_lost"] is False
        engine.release(["weights"])
        engine.reclaim(["weights", "kv_cache"])
        assert engine.memory.facts == {
            "memory_saver": saver,
            "weights_backup": backup,
            "released": [],
            "weights_lost": lost,
        }
        engine.reset()
        assert engine.memory.facts["weights_lost"] is False

    async def test_a_restart_is_a_new_process(self, engine: SglangEngine) -> None:
        engine.release(None)
        await engine.pause_generation(PauseMode.IN_PLACE)
        engine.die()
        engine.restart()
        assert (engine.asleep, engine.is_paused, engine.dead, engine.memory.lost) == (set(), False, False, False)
