"""What a process does so that the judge is awake while it is asked, and asleep while training has the GPU.

::

    async with offload.awake():     # the judge is awake, and stays so
        ...ask it...
    await offload.scored()          # after each sample of a batch; with the last one the judge is asleep
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

import anyio

from genrm.errors import GenRMError, JudgeError, JudgeTimeout, OffloadError
from genrm.offload.ledger import Answer, Duty, Phase, State
from genrm.offload.memory import MemoryWatch
from genrm.offload.servers import Seen, Servers
from genrm.offload.shared import SharedLedger
from genrm.offload.stores import Store

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.02
"""How often a process that waits for another one's transition looks."""
_LOOK_SECONDS = 1.0
"""How often a process looks whether the judge is what the ledger says, while it waits for replies."""
_LOOK_PATIENCE = 5.0
"""A look that takes longer is given up: signs of life must go on, or its leases are taken from this process."""
_IDLE_LOOKS = 5
"""One look in so many while nobody needs the judge."""


_WAKING = (Duty.WAKE, Duty.FINISH_AND_WAKE)


class Gateway(Protocol):
    """The way to the judge's servers."""

    async def servers(self) -> Servers:
        """Those there are now. Raises JudgeError, where a router that is asked for them does not answer."""

    async def aclose(self) -> None:
        """Close its connections."""


class Offload:
    """The judge's memory, as one event loop of one process uses it.

    Args:
        store: where the ledger is kept.
        gateway: the way to the judge's servers; closed with this.
        memory: sees whether sleeping helps.
        linger: seconds, as `genrm.offload.ledger.Policy`.
        wake_seconds: how long a sample waits for the judge to wake.
        sleep_seconds: how long a batch's last sample waits for it to sleep.
    """

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        memory: MemoryWatch,
        *,
        linger: float,
        wake_seconds: float,
        sleep_seconds: float,
    ) -> None:
        self._ledger = SharedLedger(store, self._begin)
        self._gateway = gateway
        self._memory = memory
        self._tick = max(0.02, min(_LOOK_SECONDS, linger / 4))
        self._wake_seconds = wake_seconds
        self._sleep_seconds = sleep_seconds
        self._warden: asyncio.Task[None] | None = None
        self._transition: asyncio.Task[None] | None = None
        self._failure: tuple[Duty, Exception] | None = None
        """Of the last transition."""
        self._said = ""

    def awake(self) -> Lease:
        """A lease: a context manager in which the judge is awake.

        Raises (on entering):
            OffloadError: it cannot be woken, or woke up with garbage for weights.
            JudgeError: it did not wake in time.
        """
        return Lease(self)

    async def scored(self) -> None:
        """A sample of the batch has its reward. For the last one this returns when the judge is asleep."""
        self._start()
        answer = await self._ledger.send("scored")
        if not answer.ticket:
            return
        slept = False
        with anyio.move_on_after(self._sleep_seconds):
            slept = await self._slept(answer.ticket)
        if not slept:
            logger.error("the batch is over and the judge could not be put to sleep: training may lack its memory")

    @property
    def ledger(self) -> str:
        """Where the ledger is kept."""
        return self._ledger.where

    @property
    def wakes(self) -> int:
        """How often the judge was woken, as far as this process knows."""
        return self._ledger.last.wakes

    async def restored(self, wakes: int) -> bool:
        """After a request without a whole reply: whether the judge had been asleep or gone; it is awake again.

        Then asking again is no further attempt: the request never had a judge.

        Args:
            wakes: of this, when the request was sent.
        """
        servers = await self._gateway.servers()
        seen = await servers.look()
        while seen is Seen.GONE:
            await anyio.sleep(_POLL_SECONDS * 10)
            seen = await servers.look()
            wakes = -1
        if seen is Seen.ASLEEP:
            await self._ledger.send("distrust", False)
        # Another process may be about to wake it, or have done so.
        while (await self._ledger.send("need")).phase is not Phase.AWAKE:
            await self._news(*_WAKING)
        return self.wakes != wakes

    async def look(self) -> dict[str, Seen]:
        """What each server is now, by its URL. Raises OffloadError for one that cannot sleep, JudgeError."""
        return await (await self._gateway.servers()).look_at_each()

    async def state(self) -> State:
        """What the ledger remembers, unchanged by looking."""
        return await self._ledger.read()

    async def dismiss(self, *, force: bool = False) -> bool:
        """Put the judge to sleep now. Returns when it is asleep: True; or False when somebody has a lease.

        Args:
            force: also then; who has the lease wakes it when a request is not answered.

        Raises:
            OffloadError, JudgeError: it cannot be put to sleep.
        """
        self._start()
        servers = await self._gateway.servers()
        while True:
            answer = await self._ledger.send("dismiss", force)
            if answer.phase is Phase.ASLEEP:
                if await servers.look(to_sleep=True) is Seen.ASLEEP:
                    return True
                await self._ledger.send("distrust", True)
            elif answer.leases:
                return False
            await self._news(*Duty)

    async def aclose(self, *, and_sleep: bool = True) -> None:
        """Leave: give back what is held, and where nobody else is there, put the judge to sleep."""
        for task in (self._warden, self._transition):
            if task:
                task.cancel()
        if self._warden is not None:
            await asyncio.wait({task for task in (self._warden, self._transition) if task})
            try:
                await self._ledger.send("leave", and_sleep)
                await self._transition_over()
            except OffloadError as error:
                logger.error("%s", error)
        await self._ledger.aclose()
        await self._gateway.aclose()

    # --- leases ---

    async def _acquire(self) -> None:
        self._start()
        with self._patience():
            while not (await self._ledger.acquire()).granted:
                await self._news(*_WAKING)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            with anyio.fail_after(self._wake_seconds):
                yield
        except TimeoutError:
            raise JudgeTimeout("the judge", f"it did not wake up within {self._wake_seconds:g} s") from None

    def _release(self) -> None:
        # Nobody waits for it, so that no cancellation can keep it from being done.
        self._ledger.send("release")

    async def _slept(self, ticket: int) -> bool:
        """Wait until there have been so many sleeps; False when the batch's end was given up."""
        while True:
            answer = await self._ledger.send("look")
            if answer.sleeps >= ticket or not answer.due:
                return answer.sleeps >= ticket
            await self._news()

    async def _news(self, *raising: Duty) -> None:
        """Wait until something may have changed. Raises what this process's own transition failed for, if it is one of
        these."""
        if self._transition is None or self._transition.done():
            await anyio.sleep(_POLL_SECONDS * (0.5 + random.random()))
            return
        await self._transition_over()
        if self._failure and self._failure[0] in raising:
            raise self._failure[1]

    async def _transition_over(self) -> None:
        if self._transition is not None:
            await asyncio.wait({self._transition})

    # --- transitions: tasks of their own, so that a sample that is cancelled does not leave them half done ---

    def _begin(self, duty: Duty) -> None:
        self._transition = asyncio.create_task(self._perform(duty, self._transition))

    async def _perform(self, duty: Duty, before: asyncio.Task[None] | None) -> None:
        phase, over = Phase.UNKNOWN, False
        self._failure = None
        try:
            if before and not before.done():
                # This process hung for so long that its transition was taken from it, and now has another one.
                before.cancel()
                await asyncio.wait({before})
            servers = await self._gateway.servers()
            if duty is Duty.SLEEP:
                used = await self._memory.used()
                await servers.sleep()
                phase = Phase.ASLEEP
                await self._memory.compare(used)
            else:
                await self._wake(servers, finish_sleep=duty is Duty.FINISH_AND_WAKE)
                phase = Phase.AWAKE
        except Exception as error:  # of whatever kind: who waits must not wait for ever
            self._failure = duty, error
            over = isinstance(error, OffloadError)  # the server answered, so that nothing is under way any more
            self._say(error)
        finally:
            if self._transition is asyncio.current_task():  # else the ledger would take it for the successor's end
                self._ledger.send("done", phase, over)

    async def _wake(self, servers: Servers, finish_sleep: bool) -> None:
        began = time.monotonic()
        with self._patience():
            await servers.wake(finish_sleep)
        logger.info("the judge is awake after %.1f s", time.monotonic() - began)

    # --- the warden ---

    def _start(self) -> None:
        if self._warden is None:
            self._warden = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Give signs of life, put the judge to sleep when it is time, and see whether it is what it should be."""
        looked, ticks = time.monotonic(), 0
        while True:
            await anyio.sleep(self._tick)
            try:
                answer = await self._ledger.beat()
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    looked, ticks = time.monotonic(), ticks + 1
                    if self._ledger.leases or ticks % _IDLE_LOOKS == 0:
                        with anyio.move_on_after(_LOOK_PATIENCE):
                            await self._compare(answer)
            except Exception as error:  # of whatever kind: signs of life must go on
                self._say(error)

    def _say(self, error: Exception) -> None:
        """Log an error; what is tried again every second and fails again is said once."""
        if str(error) != self._said:
            self._said = str(error)
            level = logging.WARNING if isinstance(error, JudgeError) else logging.ERROR
            logger.log(level, "%s", error, exc_info=None if isinstance(error, GenRMError) else error)

    async def _compare(self, answer: Answer) -> None:
        """A stranger may have put the judge to sleep, so that our requests hang; or it was restarted, and is awake."""
        unexpected = {Phase.AWAKE: Seen.ASLEEP, Phase.ASLEEP: Seen.AWAKE}.get(answer.phase)
        if unexpected is None or (answer.phase is Phase.AWAKE and not self._ledger.leases):
            return
        seen = await (await self._gateway.servers()).look(to_sleep=answer.phase is Phase.ASLEEP)
        if seen is unexpected:
            logger.warning("the judge is %s, and nobody who uses it with genrm has done that", seen.value)
            await self._ledger.send("distrust", seen is Seen.AWAKE)


class Lease:
    """A claim that the judge be awake, from entering to leaving. Made by `Offload.awake`."""

    # A class and no asynccontextmanager: those hold async generators open (see genrm.per_loop).

    def __init__(self, offload: Offload) -> None:
        self._offload = offload

    async def __aenter__(self) -> None:
        await self._offload._acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._offload._release()
