"""Who needs the judge awake, and who wakes it or puts it to sleep: the rules, free of I/O and of clocks.

All processes that use a judge share one ledger (genrm.offload.stores) and change it one after the other. A process
asks for a lease before it asks the judge, and gives it back after. Whoever finds the judge asleep gets the *duty* to
wake it, whoever sees that it should sleep gets the duty to put it to sleep: one process at a time owns a transition,
and the others wait. A process that dies is found out by the next one: its leases end, and its transition is taken over.

::

    UNKNOWN --acquire--> WAKING --done--> AWAKE --(no lease, and idle or batch over)--> FALLING --done--> ASLEEP
       ^                   |                 ^                                            |                  |
       +----- failed ------+-----------------+---------------------- failed --------------+     acquire -> WAKING
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from genrm.offload.holders import Holder

STALE_SECONDS = 60.0
"""A transition whose owner has not been heard of for so long is taken over, as its event loop must hang."""
UNVERIFIED_SECONDS = 30.0
"""A holder on another host is taken for dead after such a silence."""
GRACE_SECONDS = 1.0
"""What a dead process had sent may still reach the judge: so long nobody puts it to sleep; nor after a failure to, nor
while nobody has come yet for whom it was woken."""


class Phase(str, enum.Enum):
    """What the ledger knows of the judge's memory."""

    UNKNOWN = "unknown"
    WAKING = "waking"
    AWAKE = "awake"
    FALLING = "falling"
    """On its way to sleep."""
    ASLEEP = "asleep"


class Duty(str, enum.Enum):
    """What the caller has to do now, as the only one."""

    NONE = "none"
    WAKE = "wake"
    FINISH_AND_WAKE = "finish_and_wake"
    """Wake, but first finish the falling asleep that another one began and died over: it may still be under way."""
    SLEEP = "sleep"


@dataclass(frozen=True)
class Policy:
    """When the judge may sleep.

    Attributes:
        linger: seconds without a lease after which it does.
        batch_size: it does at once when so many samples have been scored; 0: only `linger` counts.
        lease_ttl: seconds without a sign of life after which a lease of a living process ends, too.
    """

    linger: float
    batch_size: int = 0
    lease_ttl: float = 600.0


class Entry(BaseModel):
    """What a ledger knows of one holder. `beat`: when it was last heard of."""

    holder: Holder
    beat: float
    leases: int = 0
    leaving: bool = False


class State(BaseModel):
    """All that a ledger remembers. Times are seconds of the clock that `Ledger.apply` is given."""

    phase: Phase = Phase.UNKNOWN
    since: float = 0.0
    """When the phase began."""
    owner: str = ""
    """Whose transition it is; empty in the phases that last."""
    entries: dict[str, Entry] = {}
    scored: int = 0
    """Samples of the batch under way."""
    falls: bool = False
    """A sleep was begun and has come to no good end: it may still be under way, and forget a wake meanwhile."""
    due: bool = False
    """A batch is over: nobody new gets a lease until the judge has slept."""
    idle_since: float = 0.0
    reaped: float = 0.0
    """When a lease was last taken from the dead."""
    wakes: int = 0
    sleeps: int = 0

    @property
    def leases(self) -> int:
        """How many there are in all."""
        return sum(entry.leases for entry in self.entries.values())


class Call(NamedTuple):
    """One operation on a ledger: the name of a method of it, by whom, and further arguments."""

    name: str
    holder: Holder
    arguments: tuple[Any, ...] = ()


class Answer(NamedTuple):
    """What became of a call.

    `ticket`: the batch is over, and the caller waits until there have been so many sleeps; 0 for nobody to wait for.
    """

    phase: Phase
    duty: Duty = Duty.NONE
    granted: bool = False
    ticket: int = 0
    sleeps: int = 0
    wakes: int = 0
    due: bool = False
    leases: int = 0


class Ledger:
    """One judge's ledger.

    Args:
        policy: when the judge may sleep.
        state: what is remembered; changed in place.
        is_alive: whether a holder's process lives, None where that cannot be told.
    """

    def __init__(
        self, policy: Policy, state: State, is_alive: Callable[[Holder], bool | None] = Holder.is_alive
    ) -> None:
        self.policy = policy
        self.state = state
        self._is_alive = is_alive
        self._now = 0.0

    def apply(self, call: Call, now: float) -> Answer:
        """Do what is called for at the time `now`, in seconds since 1970."""
        self._now = now
        self._remember_no_future()
        if not self.state.since:
            # A new ledger, perhaps in the place of one that was lost: all who have leases are heard before it acts.
            self.state.since = self.state.idle_since = now
        entry = self.state.entries.setdefault(call.holder.key, Entry(holder=call.holder, beat=now))
        entry.beat = now
        operation: Callable[..., Answer] = getattr(self, f"_{call.name}")
        return operation(entry, *call.arguments)

    # --- the operations ---

    def _acquire(self, me: Entry) -> Answer:
        """Ask for a lease. Granted when the judge is awake; else a duty, or nothing: ask again in a while."""
        if self.state.phase is Phase.UNKNOWN:
            # The last batch's sleep has failed: the next batch does not wait for it.
            self.state.due = False
        if self.state.phase is not Phase.AWAKE:
            return self._need(me)
        if self.state.due:
            return self._answer(self._sleep_if_time(me))
        me.leases += 1
        return self._answer(granted=True)

    def _need(self, me: Entry) -> Answer:
        """See that the judge wakes, for one who has a lease: a duty, or nothing where it is awake or about to be."""
        state = self.state
        if state.phase is Phase.AWAKE:
            return self._answer()
        if self._in_transition and not self._is_abandoned():
            return self._answer()
        return self._answer(self._wake(me))

    def _release(self, me: Entry) -> Answer:
        """Give a lease back."""
        if me.leases:  # else it had been taken: the process was held for dead
            me.leases -= 1
        if not self.state.leases:
            self.state.idle_since = self._now
        return self._answer(self._sleep_if_time(me))

    def _scored(self, me: Entry) -> Answer:
        """A sample of the batch is scored. With the last one the judge has to sleep: then there is a ticket."""
        state = self.state
        if state.due or (state.phase is Phase.ASLEEP and self._now - state.since < GRACE_SECONDS):
            # The batch is over: this sample was counted before, by a worker that was killed with its reward.
            return self._answer()
        state.scored += 1
        if not self.policy.batch_size or state.scored < self.policy.batch_size:
            return self._answer()
        state.scored = 0
        if state.phase is Phase.ASLEEP:
            return self._answer()
        state.due = True
        ticket = state.sleeps + 1
        return self._answer(self._sleep_if_time(me))._replace(ticket=ticket)

    def _look(self, me: Entry) -> Answer:
        """See how things are, and help where help is needed."""
        return self._answer(self._sleep_if_time(me))

    def _beat(self, me: Entry, leases: int) -> Answer:
        """A sign of life, with the number of leases that the holder knows of: a ledger may have been lost."""
        me.leases = leases
        if leases and self.state.phase in (Phase.UNKNOWN, Phase.ASLEEP):
            return self._need(me)  # it slept while these leases were not known
        return self._answer(self._sleep_if_time(me))

    def _distrust(self, me: Entry, awake: bool) -> Answer:
        """The judge was seen awake or asleep, other than it should be: a stranger, or a restart."""
        state = self.state
        if not awake:
            if state.phase is Phase.AWAKE:
                self._settle(Phase.UNKNOWN)
            return self._need(me)
        if state.phase is Phase.ASLEEP:
            self._settle(Phase.AWAKE)
            state.idle_since = 0.0  # training has begun: at once
        return self._answer(self._sleep_if_time(me))

    def _done(self, me: Entry, phase: Phase, over: bool = False) -> Answer:
        """The caller's transition has ended: AWAKE, ASLEEP, or UNKNOWN when it failed; `over`: none of it goes on."""
        state = self.state
        if state.owner != me.holder.key:
            return self._answer()  # it took so long that another one took over
        if phase is Phase.AWAKE:
            state.wakes += 1
            state.idle_since = self._now
        elif phase is Phase.ASLEEP:
            state.sleeps += 1
            # Also where it slept because nobody came: what was counted belongs to no batch any more.
            state.scored = 0
            state.due = False
        state.falls = state.falls and phase is Phase.UNKNOWN and not over
        self._settle(phase)
        if me.leaving:
            del state.entries[me.holder.key]
        return self._answer()

    def _dismiss(self, me: Entry, force: bool) -> Answer:
        """The judge is to sleep now, not when its time has come, unless somebody has a lease (force: even then)."""
        self._reap()
        if force:
            for entry in self.state.entries.values():
                entry.leases = 0
        if not self.state.leases:
            self.state.idle_since = 0.0
        return self._answer(self._sleep_if_time(me))

    def _leave(self, me: Entry, and_sleep: bool = True) -> Answer:
        """The caller's event loop ends. Where nobody else is there, it puts the judge to sleep first."""
        me.leases = 0
        me.leaving = True
        self._reap()
        others = any(not entry.leaving for entry in self.state.entries.values())
        mine = self.state.owner == me.holder.key
        busy = self._in_transition and not mine and not self._is_abandoned()
        if and_sleep and not (others or busy or self.state.phase is Phase.ASLEEP):
            return self._answer(self._fall(me))
        # Where the transition was the caller's, others take it over.
        del self.state.entries[me.holder.key]
        return self._answer()

    # --- the rules ---

    def _remember_no_future(self) -> None:
        """A clock that was set back must not make everybody wait until it is again what it was."""
        state = self.state
        state.since, state.idle_since, state.reaped = (
            min(moment, self._now) for moment in (state.since, state.idle_since, state.reaped)
        )
        for entry in state.entries.values():
            entry.beat = min(entry.beat, self._now)

    @property
    def _in_transition(self) -> bool:
        return bool(self.state.owner)

    @property
    def _is_unused(self) -> bool:
        """Whether the judge has been woken, and nobody has given a lease back since: whoever woke it is on his way."""
        state = self.state
        return state.phase is Phase.AWAKE and state.idle_since == state.since and not state.due

    def _is_abandoned(self) -> bool:
        """Whether the transition's owner is dead, or hangs."""
        owner = self.state.entries.get(self.state.owner)
        return owner is None or self._is_gone(owner, STALE_SECONDS)

    def _sleep_if_time(self, me: Entry) -> Duty:
        """Whether the caller has to put the judge to sleep now; then the transition is his."""
        state = self.state
        if state.phase is Phase.ASLEEP or not (state.due or self._now - state.idle_since >= self.policy.linger):
            return Duty.NONE
        if self._in_transition:
            if not self._is_abandoned():
                return Duty.NONE
        elif (state.phase is Phase.UNKNOWN or self._is_unused) and self._now - state.since < GRACE_SECONDS:
            return Duty.NONE
        self._reap()
        if state.leases or self._now - state.reaped < GRACE_SECONDS:
            return Duty.NONE
        return self._fall(me)

    def _reap(self) -> None:
        """Forget the dead. What they had in flight may still be on its way to the judge."""
        for key, entry in list(self.state.entries.items()):
            if self._is_gone(entry, self.policy.lease_ttl):
                if entry.leases:
                    self.state.reaped = self._now
                del self.state.entries[key]

    def _is_gone(self, entry: Entry, silence: float) -> bool:
        alive = self._is_alive(entry.holder)
        if alive is None:
            silence = min(silence, UNVERIFIED_SECONDS)
        return alive is False or self._now - entry.beat > silence

    def _wake(self, me: Entry) -> Duty:
        self._begin(Phase.WAKING, me)
        return Duty.FINISH_AND_WAKE if self.state.falls else Duty.WAKE

    def _fall(self, me: Entry) -> Duty:
        self._begin(Phase.FALLING, me)
        self.state.falls = True
        return Duty.SLEEP

    def _begin(self, phase: Phase, me: Entry) -> None:
        self.state.phase, self.state.owner, self.state.since = phase, me.holder.key, self._now

    def _settle(self, phase: Phase) -> None:
        self.state.phase, self.state.owner, self.state.since = phase, "", self._now

    def _answer(self, duty: Duty = Duty.NONE, granted: bool = False) -> Answer:
        state = self.state
        return Answer(state.phase, duty, granted, 0, state.sleeps, state.wakes, state.due, state.leases)
