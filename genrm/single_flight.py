"""Identical questions in flight at once are asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one call per key at a time; callers of the same key share its result, or its error.

    A caller that is cancelled leaves the others alone; when the last one is gone, the call is cancelled.
    Bound to the event loop that it is used in.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._waiting: dict[Hashable, int] = {}

    async def run(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call()`, or of the call with the same key that is already under way."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(call))
            self._tasks[key] = task
            self._waiting[key] = 0
            task.add_done_callback(lambda done: self._forget(key, done))
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            if self._tasks.get(key) is task:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    # Nobody waits any more. Forgotten at once, so that a newcomer does not join a dying call.
                    self._forget(key, task)
                    task.cancel()

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._waiting[key]


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
