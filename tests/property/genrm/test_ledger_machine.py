"""The ledger under any order of calls, deaths and hours: who may do what to the judge, and that it always goes on."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from genrm.offload.holders import Holder
from genrm.offload.ledger import STALE_SECONDS, Answer, Call, Duty, Ledger, Phase, Policy, State

BATCH, LINGER = 3, 5.0


@dataclass
class Process:
    """One user of the judge, as it knows itself."""

    holder: Holder
    alive: bool = True
    leases: int = 0
    duty: Duty = Duty.NONE
    hangs: bool = False
    """It may have lost its duty to another one, and does not know yet."""

    @property
    def falls(self) -> bool:
        """Whether it is putting the judge to sleep."""
        return self.duty is Duty.SLEEP


class LedgerMachine(RuleBasedStateMachine):
    """Processes that do as the ledger tells them, die at any moment, and take any time."""

    processes = Bundle("processes")

    @initialize(target=processes, batch_size=st.sampled_from([0, BATCH]))
    def begin(self, batch_size: int) -> object:
        self.now = 1_000.0
        self.all: dict[str, Process] = {}
        # Silence never ends a lease here: what is alive is heard of sooner or later.
        self.policy = Policy(LINGER, batch_size, lease_ttl=1e9)
        self.state = State()
        return multiple(*[self.new() for _ in range(3)])

    def call(self, process: Process, name: str, *arguments: object) -> Answer:
        # Each call sees what the one before wrote down, as in a store.
        self.state = State.model_validate_json(self.state.model_dump_json())
        ledger = Ledger(self.policy, self.state, lambda holder: self.all[holder.key].alive)
        answer = ledger.apply(Call(name, process.holder, arguments), self.now)
        if answer.duty is not Duty.NONE:
            self.receive(process, answer.duty)
        return answer

    def receive(self, process: Process, duty: Duty) -> None:
        """A duty is for one alone, and nobody is put to sleep who is needed."""
        others = [other for other in self.all.values() if other is not process and other.alive and not other.hangs]
        assert all(other.duty is Duty.NONE for other in others), "two at once change the judge's memory"
        if duty is Duty.SLEEP:
            assert not any(other.leases for other in [process, *others]), "put to sleep although needed"
        process.duty = duty

    @rule(target=processes)
    def join(self) -> Process:
        return self.new()

    def new(self) -> Process:
        process = Process(Holder(host="here", pid=len(self.all), started=0.0, serial="x"))
        self.all[process.holder.key] = process
        return process

    @rule(process=processes)
    def acquire(self, process: Process) -> None:
        if not process.alive:
            return
        over = self.state.due and self.state.phase is Phase.AWAKE
        answer = self.call(process, "acquire")
        if answer.granted:
            assert answer.phase is Phase.AWAKE
            assert not over, "a new one goes before the sleep that the batch's end is due"
            assert not any(other.falls for other in self.all.values() if other.alive and not other.hangs)
            process.leases += 1

    @rule(process=processes)
    def acquire_in_the_end(self, process: Process) -> None:
        """All that it takes to have a lease."""
        if process.alive and not process.leases:
            self.later(0.0)
            for _ in range(10):
                if not process.leases:
                    self.acquire(process)
                    self.finish(process, True)

    @rule(process=processes)
    def release(self, process: Process) -> None:
        if process.alive and process.leases:
            process.leases -= 1
            self.call(process, "release")

    @rule(process=processes, seconds=st.sampled_from([0.0, 0.3, LINGER + 1]))
    def beat(self, process: Process, seconds: float) -> None:
        self.now += seconds
        if process.alive:
            self.call(process, "beat", process.leases)

    @rule(process=processes)
    def score(self, process: Process) -> None:
        if process.alive and self.policy.batch_size:
            answer = self.call(process, "scored")
            if answer.ticket:
                assert self.state.due or process.falls
                assert answer.ticket == answer.sleeps + 1

    @rule(process=processes, seen=st.booleans())
    def distrust(self, process: Process, seen: bool) -> None:
        """A stranger's doing; who holds a lease looks whether it sleeps, who holds none whether it is awake."""
        if process.alive and bool(process.leases) != seen:
            self.call(process, "distrust", seen)

    @rule(process=processes)
    def dismiss(self, process: Process) -> None:
        """By hand; it may only hasten what would come by itself."""
        if process.alive:
            answer = self.call(process, "dismiss", False)
            if answer.leases:
                assert answer.duty is Duty.NONE

    @rule(process=processes, well=st.booleans())
    def finish(self, process: Process, well: bool) -> None:
        if process.alive and process.duty is not Duty.NONE:
            duty, process.duty = process.duty, Duty.NONE
            phase = (Phase.ASLEEP if duty is Duty.SLEEP else Phase.AWAKE) if well else Phase.UNKNOWN
            before = self.state.phase
            mine = self.state.owner == process.holder.key
            assert mine or process.hangs
            assert self.call(process, "done", phase).phase is (phase if mine else before)
            process.hangs = False

    @rule(process=processes)
    def hang(self, process: Process) -> None:
        """Its event loop stands still for so long that others take its transition over."""
        process.hangs = process.duty is not Duty.NONE
        for _ in range(4):
            self.now += STALE_SECONDS / 3
            for other in self.all.values():
                if other is not process and other.alive:
                    self.call(other, "beat", other.leases)

    @rule(process=processes)
    def die(self, process: Process) -> None:
        process.alive = False

    @rule(process=consumes(processes), and_sleep=st.booleans())
    def leave(self, process: Process, and_sleep: bool) -> None:
        if process.alive:
            process.leases, process.duty = 0, Duty.NONE
            self.call(process, "leave", and_sleep)
            assert and_sleep or process.duty is Duty.NONE
            if process.duty is Duty.SLEEP:
                process.duty = Duty.NONE
                self.call(process, "done", Phase.ASLEEP)
            process.alive = False

    @rule()
    def lose_the_ledger(self) -> None:
        """Somebody emptied the folder; signs of life bring back what counts, before anybody's time has come."""
        if any(process.alive and process.duty is not Duty.NONE for process in self.all.values()):
            return  # two transitions at once cannot be ruled out then
        self.state = State(idle_since=self.now)
        for process in self.all.values():
            if process.alive:
                self.call(process, "beat", process.leases)

    @invariant()
    def the_ledger_knows_the_leases(self) -> None:
        if hasattr(self, "all"):
            for process in self.all.values():
                entry = self.state.entries.get(process.holder.key)
                if process.alive and (entry or process.leases):
                    assert entry is not None
                    assert entry.leases == process.leases

    @rule(waits=st.booleans())
    def calm_down(self, waits: bool) -> None:
        """Whatever has happened: who needs the judge gets it, and when nobody does, it sleeps."""
        last = self.new()
        for process in self.all.values():
            for _ in range(process.leases):
                self.release(process)
        for _ in range(20):
            self.later(0.5)
            if waits and not last.leases:
                self.acquire(last)
        assert last.leases or not waits, "a living process waits for the judge for ever"
        self.release(last)
        for _ in range(20):
            self.later(LINGER)
            self.call(last, "look")
        assert self.state.phase is Phase.ASLEEP, "the judge never sleeps again"
        assert not self.state.due
        last.alive = False

    def later(self, seconds: float) -> None:
        """Time passes, and what is under way comes to a good end."""
        self.now += seconds
        for process in self.all.values():
            self.finish(process, True)


LedgerMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestLedger = LedgerMachine.TestCase
