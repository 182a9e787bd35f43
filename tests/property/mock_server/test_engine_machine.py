"""The engine against a model of contract section 2, in whatever order things happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from engine_model import MODES, ODD_TAGS, TAGS, CallFailed, EngineModel, Pause, Request, count
from mock_server.engine.machine import Engine, Generation, Mode, Plan
from mock_server.errors import EngineCallError


class EngineMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.engine = Engine(tokens_per_second=1)
        self.model = EngineModel()
        self.generations: list[tuple[Generation, Request]] = []
        self.pauses: list[tuple[asyncio.Task[None], Pause]] = []

    def teardown(self) -> None:
        tasks = [task for task, _ in self.pauses]
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.wait(tasks) if tasks else asyncio.sleep(0))
        self.loop.close()

    def let_tasks_run(self) -> None:
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(target=requests, choices=st.integers(1, 3), tokens=st.integers(1, 20))
    def submit(self, choices: int, tokens: int) -> int:
        number = len(self.generations)
        generation = Generation(f"id-{number}", [Plan(b"x" * tokens, tokens, "stop")] * choices)
        request = Request(tokens, "stop", choices, engine_id=f"id-{number}")
        self.generations.append((generation, request))
        self.engine.submit(generation)
        self.model.submit(request)
        return number

    @rule(seconds=st.sampled_from([1, 4, 20]))
    def step(self, seconds: int) -> None:
        self.engine.step(seconds)
        self.model.step(seconds)
        self.let_tasks_run()

    @rule(level=st.sampled_from([0, 1, 2]), mode=st.sampled_from(MODES))
    def sleep(self, level: int, mode: str) -> None:
        self.start(self.engine.sleep(level, Mode(mode)), self.model.sleep(level, mode))

    @rule(mode=st.sampled_from(MODES), clear=st.booleans())
    def pause(self, mode: str, clear: bool) -> None:
        self.start(self.engine.pause(Mode(mode), clear), self.model.pause(mode, clear))

    # Left to chance, something seldom runs that could be waited for, and seldom is anything done meanwhile.
    @precondition(lambda self: self.model.running)
    @rule(level=st.sampled_from([0, 1, 2]))
    def drain(self, level: int) -> None:
        self.sleep(level, "wait")

    @precondition(lambda self: self.model.drains)
    @rule(clear=st.none() | st.booleans())
    def disturb_the_drain(self, clear: bool | None) -> None:
        if clear is None:
            self.wake_up(None)
        else:
            self.pause("keep", clear)

    def start(self, call: Coroutine[object, object, None], pause: Pause) -> None:
        self.pauses.append((self.loop.create_task(call), pause))
        self.let_tasks_run()

    @rule(tags=st.none() | st.sampled_from(TAGS) | st.sampled_from(ODD_TAGS))
    def wake_up(self, tags: list[str] | None) -> None:
        assert failure(lambda: self.engine.wake_up(tags)) == failure(lambda: self.model.wake_up(tags))

    @rule()
    def resume(self) -> None:
        self.engine.resume()
        self.model.resume()

    @rule()
    def abort_all(self) -> None:
        assert self.engine.abort() == self.model.abort_requests()["aborted"]
        self.let_tasks_run()

    @rule(request=requests)
    def abort_one(self, request: int) -> None:
        ids = [f"id-{request}", "unknown"]
        assert self.engine.abort(ids) == self.model.abort_requests(ids)["aborted"]
        self.let_tasks_run()

    @rule(number=requests)
    def client_goes(self, number: int) -> None:
        generation, request = self.generations[number]
        self.engine.drop(generation)
        self.model.drop(request)
        self.let_tasks_run()

    # With a pending drain the contract leaves open what becomes of it.
    @precondition(lambda self: not self.model.drains)
    @rule(reset_running=st.booleans())
    def reset_prefix_cache(self, reset_running: bool) -> None:
        assert self.engine.reset_prefix_cache(reset_running) == self.model.reset_prefix_cache(reset_running)["success"]

    @rule()
    def release_kv_cache_memory(self) -> None:
        failed = failure(self.engine.release_kv_cache_memory)
        assert failed == failure(self.model.release_kv_cache_memory) is not None

    @invariant()
    def looks_the_same(self) -> None:
        engine, model = self.engine, self.model
        assert engine.is_paused == model.is_paused
        assert engine.is_sleeping == model.is_sleeping
        assert engine.asleep == model.asleep
        assert engine.sleep_level == model.shown_level
        assert (engine.running, engine.waiting) == (count(model.running), count(model.waiting))
        assert engine.shown_running == model.shown_running
        assert {reason: number for reason, number in engine.stats.finished.items() if number} == +model.counted
        for generation, request in self.generations:
            for choice in generation.choices:
                assert (choice.tokens, choice.finish_reason) == (request.said, request.ended)

    @invariant()
    def pauses_end_together(self) -> None:
        assert [task.done() for task, _ in self.pauses] == [pause.done for _, pause in self.pauses]


def failure(call: Callable[[], object]) -> str | None:
    """What a call into the engine fails with."""
    try:
        call()
    except (EngineCallError, CallFailed) as error:
        return str(error)
    return None


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
