"""A clock for a mock server's engine that a test turns by hand: what is said then does not depend on the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from hanging_clients import PATIENCE
from mock_server.engine.machine import Engine


class HandClock:
    """`run` takes the place of the engine's own, before the server starts."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._loop: Future[asyncio.AbstractEventLoop] = Future()

    async def run(self) -> None:
        """Note whose loop it is, and let no time pass."""
        self._loop.set_result(asyncio.get_running_loop())
        await asyncio.Event().wait()

    def step(self, seconds: float) -> None:
        """Let so much time pass."""
        self.in_server(lambda: self.engine.step(seconds))

    def in_server(self, call: Callable[[], object]) -> None:
        """Do something in the thread that the engine belongs to."""

        async def doing() -> None:
            call()

        asyncio.run_coroutine_threadsafe(doing(), self._loop.result(PATIENCE)).result(PATIENCE)
