"""The rules of every version, with and without a GPU: the engine against a small model, under Hypothesis."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from mock_server.engine.gpu import OutOfMemory, SimulatedGpu
from mock_server.engine.machine import Engine, EngineRules, Generation, Mode, Plan
from mock_server.errors import EngineCallError
from mock_server.versions import names, profile

LENGTH = 10
TOTAL, RUNTIME, SIZES = 80.0, 1.2, {"weights": 15.0, "kv_cache": 55.8}  # GiB
GARBAGE = Plan(b"!" * LENGTH, LENGTH, "stop")
RUN, PAUSED_NEW, PAUSED_ALL = "run", "paused_new", "paused_all"
TAGS = st.none() | st.lists(st.sampled_from(["weights", "kv_cache", "scheduling", "junk", ""]), min_size=1, max_size=3)


@dataclass
class Model:
    """The rules, as directly as they can be written. Requests are numbers."""

    rules: EngineRules
    on_gpu: bool = False
    claimed: float = 0.0
    lost: bool = False
    garbled: set[int] = field(default_factory=set)
    dead: bool = False
    sched: str = RUN
    asleep: set[str] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    said: dict[int, int] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    # Levels of pending sleeps, None for a pause; and whether the cache goes when they are done.
    drains: list[tuple[int | None, bool]] = field(default_factory=list)

    def end(self, requests: list[int], reason: str) -> None:
        for request in list(requests):
            self.ended[request] = reason
        self.waiting = [r for r in self.waiting if r not in self.ended]
        self.running = [r for r in self.running if r not in self.ended]

    def hold(self, mode: Mode, clear: bool) -> None:
        if not self.rules.sleep_pauses:
            closed = self.sched == PAUSED_NEW
            self.sched = PAUSED_ALL if mode is Mode.KEEP else PAUSED_NEW
            if mode is Mode.ABORT and not closed:
                self.end(self.waiting + self.running, "abort")
            return
        if mode is Mode.ABORT:
            self.end(self.waiting + self.running, "abort")
        self.sched = PAUSED_ALL if mode is Mode.KEEP else PAUSED_NEW
        if mode is Mode.KEEP and clear:  # kept requests are recomputed: they queue again, first
            self.waiting, self.running = self.running + self.waiting, []

    def lie_down(self, level: int | None) -> None:
        takes = level is not None and (level >= 1 or not self.rules.sleep_pauses)
        held = "weights" in self.asleep if self.rules.sleeps_again else self.asleep
        if takes and not held:
            self.lost |= self.on_gpu and "weights" not in self.asleep and level != 1
            self.asleep = {"weights", "kv_cache"}

    @property
    def free(self) -> float:
        used = 0.0 if self.dead else RUNTIME + sum(size for tag, size in SIZES.items() if tag not in self.asleep)
        return TOTAL - used - self.claimed

    def run(self, requests: list[int]) -> None:
        self.running += requests
        if self.lost:
            self.garbled.update(requests)

    def settle_death(self) -> None:
        if self.rules.dies_on_unmapped and self.asleep and self.running and self.sched != PAUSED_ALL:
            self.dead = True
            self.end(self.waiting + self.running, "error")

    def settle_drains(self) -> None:
        frozen = self.rules.sleep_pauses and self.sched == PAUSED_ALL
        if not self.running or frozen:
            for level, clear in self.drains:
                if clear and frozen:  # as in `hold`
                    self.waiting, self.running = self.running + self.waiting, []
                self.lie_down(level)
            self.drains = []

    def go(self) -> None:
        self.sched = RUN
        self.run(self.waiting)
        self.waiting = []

    def wake(self, tags: list[str] | None) -> bool:
        """Whether the call succeeds."""
        named = not self.rules.sleep_pauses
        wanted = None if tags is None else [tag for tag in tags if named or tag != "scheduling"]
        if (tags is None or wanted) and self.asleep and set(wanted or ()) <= self.asleep:
            named_once = list(self.asleep) if wanted is None else list(dict.fromkeys(wanted))
            if wanted and len(named_once) < len(wanted):  # up to the first that is named again
                named_once = named_once[: next(at for at, tag in enumerate(wanted) if tag in wanted[:at])]
            needed = sum(SIZES[tag] for tag in named_once)
            if self.on_gpu and needed > self.free:
                return False
            for tag in list(self.asleep) if wanted is None else wanted:
                if tag not in self.asleep:
                    return False
                self.asleep.remove(tag)
        if self.rules.sleep_pauses and (self.rules.wakes_at_once or not self.asleep):
            self.go()
        return True

    def step(self, tokens: int) -> None:
        if self.sched != PAUSED_ALL:
            for request in self.running:
                self.said[request] = min(LENGTH, self.said[request] + tokens)
            self.end([r for r in self.running if self.said[r] == LENGTH], "stop")


class EngineMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.generations: list[Generation] = []
        self.tasks: list[asyncio.Task[None]] = []

    @initialize(name=st.sampled_from(names("vllm")), on_gpu=st.booleans())
    def start(self, name: str, on_gpu: bool) -> None:
        rules, gpu = profile(name).engine, None
        if on_gpu:
            rules = replace(rules, dies_on_unmapped=True)
            gpu = SimulatedGpu.of_vllm(TOTAL, 0.9, 15)
        self.engine = Engine(tokens_per_second=1, rules=rules, gpu=gpu)
        self.model = Model(rules, on_gpu)

    def teardown(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(self.all_tasks())
        self.loop.close()

    async def all_tasks(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def let_tasks_run(self) -> None:
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))
        self.model.settle_death()
        self.model.settle_drains()

    @rule(target=requests)
    def submit(self) -> int:
        number = len(self.generations)
        generation = Generation(f"id-{number}", [Plan(b"x" * LENGTH, LENGTH, "stop")], lambda: [GARBAGE])
        self.generations.append(generation)
        self.engine.submit(generation)
        self.model.said[number] = 0
        if self.model.dead:
            self.model.end([number], "error")
        elif self.model.sched == RUN:
            self.model.run([number])
        else:
            self.model.waiting.append(number)
        self.let_tasks_run()
        return number

    @rule(seconds=st.sampled_from([1, 4, 20]))
    def step(self, seconds: int) -> None:
        self.engine.step(seconds)
        self.model.step(seconds)
        self.let_tasks_run()

    @rule(level=st.sampled_from([0, 1, 2]), mode=st.sampled_from(list(Mode)))
    def sleep(self, level: int, mode: Mode) -> None:
        self.tasks.append(self.loop.create_task(self.engine.sleep(level, mode)))
        self.loop.run_until_complete(asyncio.sleep(0))
        pauses = self.model.rules.sleep_pauses
        if pauses:
            self.model.hold(mode, clear=level >= 1)
        if pauses and mode is Mode.WAIT:
            self.model.drains.append((level, level >= 1))
        else:
            self.model.lie_down(level)
        self.let_tasks_run()

    @rule(mode=st.sampled_from(list(Mode)), clear=st.booleans())
    def pause(self, mode: Mode, clear: bool) -> None:
        self.tasks.append(self.loop.create_task(self.engine.pause(mode, clear)))
        self.loop.run_until_complete(asyncio.sleep(0))
        self.model.hold(mode, clear)
        if mode is Mode.WAIT:
            self.model.drains.append((None, clear))
        self.let_tasks_run()

    @rule(tags=TAGS)
    def wake_up(self, tags: list[str] | None) -> None:
        try:
            self.engine.wake_up(tags)
            succeeded = True
        except EngineCallError:
            succeeded = False
        assert succeeded == self.model.wake(tags)
        self.let_tasks_run()

    @rule()
    def resume(self) -> None:
        self.engine.resume()
        self.model.go()
        self.let_tasks_run()

    @rule()
    def abort_all(self) -> None:
        assert self.engine.abort() == len(self.model.waiting) + len(self.model.running)
        self.model.end(self.model.waiting + self.model.running, "abort")
        self.let_tasks_run()

    @rule(request=requests)
    def abort_one(self, request: int) -> None:
        assert self.engine.abort([f"id-{request}"]) == 1
        self.model.end([r for r in self.model.waiting + self.model.running if r == request], "abort")
        self.let_tasks_run()

    @rule(request=requests)
    def client_goes(self, request: int) -> None:
        self.engine.drop(self.generations[request])
        self.model.end([r for r in self.model.waiting + self.model.running if r == request], "dropped")
        self.let_tasks_run()

    @precondition(lambda self: self.model.dead)
    @rule()
    def restart(self) -> None:
        model = self.model
        if model.claimed > TOTAL - RUNTIME - sum(SIZES.values()):
            with pytest.raises(OutOfMemory):
                self.engine.restart()
        else:
            self.engine.restart()
            model.dead, model.sched, model.asleep, model.lost = False, RUN, set(), False
        self.let_tasks_run()

    @precondition(lambda self: self.model.on_gpu)
    @rule(size=st.sampled_from([0, 8, 20, 60, 78]))
    def claim(self, size: float) -> None:
        gpu, model = self.engine.memory.gpu, self.model
        assert gpu is not None
        if size - model.claimed > model.free:
            with pytest.raises(OutOfMemory, match=f"of which {max(0.0, model.free):.2f} GiB is free"):
                gpu.claim({"trainer": size})
        else:
            gpu.claim({"trainer": size})
            model.claimed = size

    @rule()
    def load_weights(self) -> None:
        model = self.model
        self.engine.load_weights()
        if "weights" not in model.asleep:
            model.lost = False
        elif model.rules.dies_on_unmapped:
            model.dead = True
            model.end(model.waiting + model.running, "error")
        self.let_tasks_run()

    @precondition(lambda self: self.model.rules.sleep_pauses)  # the others have no such call
    @rule()
    def release_kv_cache(self) -> None:
        model = self.model
        still = model.sched == PAUSED_ALL or (model.sched == PAUSED_NEW and not model.running)
        released = still and not model.asleep
        if released:
            model.asleep = {"kv_cache"}  # without a GPU, too, where the call fails
            model.waiting, model.running = model.running + model.waiting, []
        with nullcontext() if released and model.on_gpu else pytest.raises(EngineCallError):
            self.engine.release_kv_cache_memory()

    @invariant()
    def looks_the_same(self) -> None:
        engine, model = self.engine, self.model
        paused = model.sched != RUN
        if model.rules.sleep_pauses:
            assert engine.is_paused == paused
            assert engine.is_sleeping == (paused or bool(model.asleep))
        else:
            assert engine.is_paused == (model.sched == PAUSED_NEW)
            assert engine.is_sleeping == bool(model.asleep)
        assert engine.dead == model.dead
        assert engine.asleep == model.asleep
        assert (engine.running, engine.waiting) == (len(model.running), len(model.waiting))
        for number, generation in enumerate(self.generations):
            choice = generation.choices[0]
            assert (choice.tokens, choice.finish_reason) == (model.said[number], model.ended.get(number))
            assert (b"!" in choice.plan.text) == (number in model.garbled)

    @invariant()
    def the_gpu_agrees(self) -> None:
        gpu = self.engine.memory.gpu
        if gpu:
            assert gpu.free == pytest.approx(self.model.free)
            assert gpu.weights_lost == self.model.lost
            assert gpu.mapped == SIZES.keys() - self.engine.asleep

    @invariant()
    def drains_agree(self) -> None:
        assert sum(not task.done() for task in self.tasks) == len(self.model.drains)


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
