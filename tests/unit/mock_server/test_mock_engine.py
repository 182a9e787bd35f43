"""The state machine by hand: rows of contract section 2, without HTTP and without a clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mock_server.engine.machine import Engine, Generation, Mode, Plan, Scheduling
from mock_server.errors import EngineCallError, WorkerError

TEN = Plan(b"0123456789", 11, "stop")  # ten bytes and the end token


@pytest.fixture
def engine() -> Engine:
    """One token a second, and no clock: time passes by `step`."""
    return Engine(tokens_per_second=1)


def submitted(engine: Engine, name: str = "a", plan: Plan = TEN, choices: int = 1) -> Generation:
    generation = Generation(name, [plan] * choices)
    engine.submit(generation)
    return generation


def said(generation: Generation) -> list[tuple[str, str | None]]:
    return [(choice.text, choice.finish_reason) for choice in generation.choices]


class TestSpeaking:
    def test_at_once_without_a_speed(self) -> None:
        generation = submitted(Engine(), choices=2)
        assert said(generation) == [("0123456789", "stop")] * 2
        assert generation.choices[0].tokens == 11

    def test_by_and_by(self, engine: Engine) -> None:
        generation = submitted(engine)
        engine.step(2.6)
        engine.step(2.5)
        assert said(generation) == [("01234", None)]
        assert engine.running == 1
        engine.step(60)
        assert said(generation) == [("0123456789", "stop")]
        assert engine.running == 0

    def test_whole_characters_only(self, engine: Engine) -> None:
        generation = submitted(engine, plan=Plan("é漢".encode(), 6, "stop"))
        texts = []
        for _ in range(5):
            engine.step(1)
            texts.append(generation.choices[0].text)
        assert texts == ["", "é", "é", "é", "é漢"]

    def test_choices_of_different_length(self, engine: Engine) -> None:
        generation = Generation("a", [Plan(b"ab", 2, "stop", "END"), TEN])
        engine.submit(generation)
        engine.step(3)
        assert said(generation) == [("ab", "stop"), ("012", None)]
        assert generation.choices[0].stop_reason == "END"
        assert (generation.unfinished, generation.finished) == (1, False)
        engine.step(1)
        engine.abort()
        assert said(generation) == [("ab", "stop"), ("0123", "abort")]

    async def test_a_clock_lets_time_pass(self) -> None:
        engine = Engine(tokens_per_second=10_000)
        clock = asyncio.create_task(engine.run())
        for _ in range(2):
            generation = submitted(engine)
            while not generation.finished:
                await generation.news()
            assert said(generation) == [("0123456789", "stop")]
        clock.cancel()


class TestSleepAndWake:
    async def test_sleep_twice_one_wake(self, engine: Engine) -> None:
        await engine.sleep()
        await engine.sleep()
        assert (engine.is_sleeping, engine.is_paused, engine.asleep) == (True, True, {"weights", "kv_cache"})
        engine.wake_up()
        assert (engine.is_sleeping, engine.is_paused, engine.asleep) == (False, False, set())

    async def test_level_0_only_pauses(self, engine: Engine) -> None:
        await engine.sleep(0)
        assert (engine.is_sleeping, engine.asleep) == (True, set())

    @pytest.mark.parametrize("order", [("weights", "kv_cache"), ("kv_cache", "weights")])
    async def test_partly_awake_is_still_asleep(self, engine: Engine, order: tuple[str, str]) -> None:
        await engine.sleep()
        waiting = submitted(engine)
        engine.wake_up([order[0]])
        assert (engine.is_sleeping, engine.is_paused, engine.asleep) == (True, True, {order[1]})
        assert (engine.waiting, engine.running) == (1, 0)
        engine.wake_up([order[1]])
        assert not engine.is_sleeping
        engine.step(60)
        assert waiting.finished

    @pytest.mark.parametrize("tags", [["weights,kv_cache"], [""], ["junk"], ["weights", "junk"], ["scheduling"]])
    async def test_tags_that_wake_nothing(self, engine: Engine, tags: list[str]) -> None:
        await engine.sleep(2)
        engine.wake_up(tags)
        assert engine.asleep == {"weights", "kv_cache"}
        assert engine.is_paused

    async def test_a_tag_twice_is_an_error_and_wakes(self, engine: Engine) -> None:
        await engine.sleep()
        with pytest.raises(EngineCallError, match=r"^Call to wake_up method failed: 'weights'$"):
            engine.wake_up(["weights", "weights"])
        assert engine.asleep == {"kv_cache"}

    async def test_what_comes_after_a_tag_given_twice_stays_asleep(self, engine: Engine) -> None:
        await engine.sleep()
        with pytest.raises(EngineCallError):
            engine.wake_up(["weights", "weights", "kv_cache"])
        assert engine.asleep == {"kv_cache"}

    @pytest.mark.parametrize("tags", [None, ["junk"], ["scheduling"], ["weights"]])
    async def test_any_wake_ends_level_0_and_pause(self, engine: Engine, tags: list[str] | None) -> None:
        await engine.pause()
        engine.wake_up(tags)
        assert not engine.is_sleeping

    async def test_sleep_after_a_partial_wake(self, engine: Engine) -> None:
        await engine.sleep()
        engine.wake_up(["weights"])
        await engine.sleep()
        assert engine.asleep == {"weights", "kv_cache"}
        engine.wake_up(["kv_cache"])
        await engine.sleep()  # weights never woke: a no-op, kv_cache stays awake
        assert engine.asleep == {"weights"}

    async def test_resume_runs_on_sleeping_memory(self, engine: Engine) -> None:
        await engine.sleep()
        engine.resume()
        assert (engine.is_paused, engine.is_sleeping) == (False, True)
        submitted(engine)
        assert engine.running == 1


class TestRequestsInFlight:
    @pytest.mark.parametrize("how", ["sleep", "pause", "abort"])
    async def test_abort_ends_running_and_waiting(self, engine: Engine, how: str) -> None:
        running = submitted(engine, choices=2)
        engine.step(4)
        engine.scheduling = Scheduling.PAUSED_NEW
        waiting = submitted(engine)
        if how == "abort":
            # As the real server counts: the two choices of the one, their request once more, and the other.
            assert engine.abort() == 4
        else:
            await getattr(engine, how)()
        assert said(running) == [("0123", "abort")] * 2
        assert said(waiting) == [("", "abort")]
        assert (engine.running, engine.waiting) == (0, 0)

    async def test_abort_by_id_counts_unknown_ids(self, engine: Engine) -> None:
        one, two = submitted(engine, "one"), submitted(engine, "two")
        assert engine.abort(["two", "nope", "never"]) == 3
        assert (one.finished, two.finished) == (False, True)

    async def test_abort_by_id_ends_one_prompt_of_several(self, engine: Engine) -> None:
        plans = [replace(TEN, engine_id=name) for name in ("a-0", "a-0", "a-1")]
        generation = Generation("a", plans)
        engine.submit(generation)
        assert generation.engine_requests == 4
        assert engine.abort(["a", "a-0"]) == 2
        assert said(generation) == [("", "abort"), ("", "abort"), ("", None)]
        assert engine.running == 1
        assert engine.abort() == 1
        assert generation.finished

    @pytest.mark.parametrize(("how", "counted"), [("abort", 0), ("sleep", 1), ("pause", 1)])
    async def test_an_abort_by_request_is_not_counted(self, engine: Engine, how: str, counted: int) -> None:
        submitted(engine)
        if how == "abort":
            engine.abort()
        else:
            await getattr(engine, how)()
        assert engine.stats.finished["abort"] == counted

    async def test_wait_lets_the_running_finish_and_holds_the_rest(self, engine: Engine) -> None:
        running = submitted(engine)
        sleeping = asyncio.create_task(engine.sleep(1, Mode.WAIT))
        await asyncio.sleep(0)
        queued = submitted(engine)
        assert engine.is_sleeping
        assert not engine.asleep
        engine.step(60)
        await sleeping
        assert said(running) == [("0123456789", "stop")]
        assert (queued.finished, engine.waiting) == (False, 1)
        assert engine.asleep

    async def test_wait_is_not_delayed_by_what_is_queued(self, engine: Engine) -> None:
        await engine.sleep(0)
        queued = submitted(engine)
        await asyncio.wait_for(engine.sleep(1, Mode.WAIT), 5)
        engine.wake_up()
        engine.step(60)
        assert said(queued) == [("0123456789", "stop")]

    async def test_wake_during_a_drain_is_lost(self, engine: Engine) -> None:
        """The race of contract section 2: memory sleeps, the scheduler runs."""
        submitted(engine)
        sleeping = asyncio.create_task(engine.sleep(1, Mode.WAIT))
        await asyncio.sleep(0)
        engine.wake_up()
        assert not engine.is_sleeping
        engine.step(60)
        await sleeping
        assert (engine.is_sleeping, engine.is_paused) == (True, False)

    @pytest.mark.parametrize("level", [0, 1, 2])
    async def test_keep_freezes_until_the_wake(self, engine: Engine, level: int) -> None:
        kept = submitted(engine)
        engine.step(4)
        await engine.sleep(level, Mode.KEEP)
        engine.step(60)
        assert said(kept) == [("0123", None)]
        engine.wake_up()
        engine.step(1)
        assert said(kept) == [("01234", None)]
        engine.step(60)
        assert said(kept) == [("0123456789", "stop")]

    async def test_kept_and_then_aborted(self, engine: Engine) -> None:
        kept = submitted(engine)
        engine.step(4)
        await engine.sleep(1, Mode.KEEP)
        await engine.sleep(1, Mode.ABORT)
        assert said(kept) == [("0123", "abort")]

    async def test_keep_ends_the_wait_for_what_it_freezes(self, engine: Engine) -> None:
        submitted(engine)
        sleeping = asyncio.create_task(engine.sleep(1, Mode.WAIT))
        await asyncio.sleep(0)
        await engine.pause(Mode.KEEP, clear_cache=False)
        await asyncio.sleep(0)
        assert sleeping.done()
        assert engine.asleep
        assert (engine.running, engine.waiting, engine.shown_running) == (0, 1, 1)

    async def test_release_of_the_cache_fails_and_sleeps(self, engine: Engine) -> None:
        submitted(engine)
        draining = asyncio.create_task(engine.pause(Mode.WAIT))
        await asyncio.sleep(0)
        with pytest.raises(EngineCallError, match=r"requires a completed pause first$"):
            engine.release_kv_cache_memory()
        await engine.pause(Mode.KEEP, clear_cache=False)
        await draining
        submitted(engine)
        engine.resume()
        await engine.pause(Mode.KEEP, clear_cache=False)
        assert engine.running == 2
        with pytest.raises(WorkerError, match=r"not supported on CPU\."):
            engine.release_kv_cache_memory()
        assert (engine.running, engine.waiting) == (0, 2)
        engine.resume()
        assert engine.is_sleeping
        assert engine.asleep == {"kv_cache"}
        await engine.pause()
        with pytest.raises(EngineCallError, match=r"requires all executor memory to be resident$"):
            engine.release_kv_cache_memory()

    async def test_an_abort_of_others_is_no_news(self, engine: Engine) -> None:
        generation = submitted(engine)
        engine.abort(["other"])
        news = asyncio.create_task(generation.news())
        await asyncio.sleep(0)
        assert not news.done()
        engine.abort()
        await news

    async def test_kept_requests_go_first(self, engine: Engine) -> None:
        await engine.pause()
        first = submitted(engine, "first")
        engine.resume()
        await engine.pause(Mode.KEEP)
        submitted(engine, "second")
        await engine.pause(Mode.KEEP)
        assert engine.waiting == 2
        assert next(iter(engine._waiting)) is first

    async def test_a_client_that_has_gone(self, engine: Engine) -> None:
        await engine.sleep()
        gone = submitted(engine)
        engine.drop(gone)
        engine.wake_up()
        engine.step(60)
        assert said(gone) == [("", "dropped")]
        assert engine.abort() == 0

    async def test_a_drain_ends_when_the_last_client_goes(self, engine: Engine) -> None:
        gone = submitted(engine)
        pausing = asyncio.create_task(engine.pause(Mode.WAIT))
        await asyncio.sleep(0)
        engine.drop(gone)
        await asyncio.wait_for(pausing, 5)
