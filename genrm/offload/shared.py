"""A process's way to the ledger: calls that are made while others are under way go there together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from genrm.offload.holders import Holder
from genrm.offload.ledger import Answer, Call, Duty, Phase, State
from genrm.offload.stores import Store

logger = logging.getLogger(__name__)

_FACTS = ("release", "done")
"""Calls that tell what has happened: where the ledger cannot be used, they are made later."""


class SharedLedger:
    """Makes calls for one holder. Bound to an event loop.

    Args:
        store: where the ledger is kept.
        on_duty: called with each duty that an answer brings. It comes here even if whoever made the call has gone.
    """

    def __init__(self, store: Store, on_duty: Callable[[Duty], None]) -> None:
        self.holder = Holder.here()
        self._on_duty = on_duty
        self.leases = 0
        """How many leases this holder has."""
        self.last = Answer(Phase.UNKNOWN)
        """The latest answer."""
        self._store = store
        self._queue: list[tuple[Call, asyncio.Future[Answer]]] = []
        self._untold: list[tuple[Call, asyncio.Future[Answer]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def send(self, name: str, *arguments: Any) -> asyncio.Future[Answer]:
        """Make a call (an operation of `genrm.offload.ledger.Ledger`). It is made even if nobody waits for its answer.

        The future raises OffloadError when the ledger cannot be used.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_log_unseen)
        self._queue.append((Call(name, self.holder, arguments), future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return future

    @property
    def where(self) -> str:
        """Where it is kept."""
        return self._store.where

    async def read(self) -> State:
        """What it remembers, unchanged by looking."""
        return await self._store.read()

    async def acquire(self) -> Answer:
        """Ask for a lease; a caller that is cancelled has none."""
        future = self.send("acquire")
        try:
            return await future
        except asyncio.CancelledError:
            # Cancelled between the answer and its arrival here; where it came earlier, see `_flush`.
            if not future.cancelled() and not future.exception() and future.result().granted:
                self.send("release")
            raise

    def beat(self) -> asyncio.Future[Answer]:
        """Give a sign of life, with the number of leases as it will be when the call is made."""
        return self.send("beat")

    async def aclose(self) -> None:
        """Wait for the calls that have been made, and let the store go."""
        if self._queue and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush())  # the loop had cancelled the one before
        if self._flushing:
            await asyncio.wait({self._flushing})
        await self._store.aclose()

    async def _flush(self) -> None:
        while self._queue:
            # Who was cancelled before it was asked for needs no lease, and this loop may have left by the answer.
            queue = [item for item in self._queue if not (item[0].name == "acquire" and item[1].cancelled())]
            batch, self._queue, self._untold = self._untold + queue, [], []
            # Signs of life first: their number of leases is that before any call of this batch.
            batch.sort(key=lambda item: item[0].name != "beat")
            calls = [call._replace(arguments=(self.leases,)) if call.name == "beat" else call for call, _ in batch]
            try:
                answers = await self._store.apply(calls)
            except Exception as error:
                # They come with the next call, which is a sign of life: else a lease would be held for ever.
                self._untold = [item for item in batch if item[0].name in _FACTS]
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (call, future), answer in zip(batch, answers, strict=True):
                self._count(call, answer)
                self.last = answer
                if answer.duty is not Duty.NONE:
                    self._on_duty(answer.duty)
                if not future.done():
                    future.set_result(answer)
                elif answer.granted:  # who asked for it was cancelled
                    self.send("release")

    def _count(self, call: Call, answer: Answer) -> None:
        if answer.granted:
            self.leases += 1
        elif call.name == "release" and self.leases:
            self.leases -= 1


def _log_unseen(future: asyncio.Future[Answer]) -> None:
    # Asking for the exception also keeps asyncio from complaining about it when nobody waits.
    if not future.cancelled() and future.exception():
        logger.debug("a call to the ledger failed: %s", future.exception())
