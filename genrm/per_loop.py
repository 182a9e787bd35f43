"""One of something for each event loop.

Connections, semaphores and futures are bound to the loop that made them. verl runs one loop per worker, its batch
manager and notebooks start others, so whatever is bound to a loop is kept by loop, and closed when the loop ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Generic, Protocol, TypeVar


class Closeable(Protocol):
    """Something to be closed in the loop that it was made in."""

    async def aclose(self) -> None: ...


T = TypeVar("T", bound=Closeable)


class PerLoop(Generic[T]):
    """Makes its thing on first use in a loop, and closes it when that loop shuts its async generators down.

    `asyncio.run` does that last, so nobody has to call a close function.

    Args:
        make: makes the thing; called in the loop. It must not hold async generators open (those of
            `contextlib.asynccontextmanager` are such): a loop shuts all of them down at once, in no order.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._held: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, bool]]] = {}
        self._lock = threading.Lock()

    async def get(self) -> T:
        """This loop's thing."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            thing = self._make()
            guard = self._guard(loop, thing)
            with self._lock:
                # Loops that were closed without shutting their generators down are forgotten here.
                for closed in [known for known in self._held if known.is_closed()]:
                    del self._held[closed]
                held = self._held[loop] = thing, guard
            await anext(guard)  # does not wait: it runs up to the yield
        return held[0]

    async def aclose(self) -> None:
        """Close this loop's thing now; the next `get` makes a new one."""
        held = self._held.get(asyncio.get_running_loop())
        if held is not None:
            with suppress(StopAsyncIteration):
                await held[1].asend(True)

    async def _guard(self, loop: asyncio.AbstractEventLoop, thing: T) -> AsyncGenerator[None, bool]:
        """Held open for as long as the loop lives; closing it, or sending True, closes the thing."""
        loop_lives = False
        try:
            loop_lives = yield
        finally:
            with self._lock:
                self._held.pop(loop, None)
            with nullcontext() if loop_lives else _late_generators(loop):
                await thing.aclose()


_known_hooks: dict[asyncio.AbstractEventLoop, list[Any]] = {}
"""Of loops in which something is being closed: what was called for each new async generator, and how many there are."""


@contextmanager
def _late_generators(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Async generators may begin here: httpx needs some for each request, and a loop that is shutting them down warns
    of each new one. They end before this does, so that nobody needs to know of them.
    """
    known = _known_hooks.setdefault(loop, [sys.get_asyncgen_hooks().firstiter, 0])
    known[1] += 1
    sys.set_asyncgen_hooks(firstiter=None)
    try:
        yield
    finally:
        known[1] -= 1
        if not known[1]:
            sys.set_asyncgen_hooks(firstiter=known[0])
            del _known_hooks[loop]
