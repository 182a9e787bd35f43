"""The mock server: its ASGI app, and a server of its own in a thread (MockServer).

with MockServer(tokens_per_second=200) as server:
    client = openai.OpenAI(base_url=server.base_url + "/v1", api_key="-")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware

from mock_server.config import ServerConfig
from mock_server.control import ControlApi
from mock_server.engine.machine import Engine
from mock_server.faces.face import Face, Kill, route
from mock_server.faces.sglang_face import SglangFace
from mock_server.faces.vllm_face import VllmFace
from mock_server.faults.schema import EngineDeath
from mock_server.journal import Exchange, Journal
from mock_server.scenario.files import load_scenario
from mock_server.scripts import Scripts
from mock_server.serving.http_server import HttpServer, MortalServer
from mock_server.serving.stage import Stage
from mock_server.serving.threaded import ThreadedServer
from mock_server.versions import kind_of

FACES: dict[str, Callable[[ServerConfig, Kill], Face]] = {"vllm": VllmFace, "sglang": SglangFace}
"""The kinds of server, by what the names of their profiles begin with."""


class Mock:
    """One mock server without its socket: engine, scripts, journal and the ASGI app over them.

    Raises ScenarioError when the scenario is wrong, ValueError for a profile that is not there or a GPU that is too
    small, OSError for a journal file that cannot be written.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.face = FACES[kind_of(config.profile)](config, self.kill)
        self.engine = self.face.engine
        self.last_words_s = self.face.last_words_s
        self.scripts = Scripts(config.scenario, config.seed)
        self.journal = Journal(path=Path(config.journal_file) if config.journal_file else None)
        self.on_death: Callable[[float | None], None] | None = None
        """What a server does whose engine has died: it stops listening, for so many seconds or for good (None)."""
        self.app = self._app()

    def kill(self, death: EngineDeath) -> None:
        """Let the engine die. In the server's own thread only."""
        self.engine.die()
        if self.on_death:
            self.on_death(death.restart_after_s)

    def _app(self) -> Starlette:
        routes = [*self.face.routes]
        if self.config.control:
            control = ControlApi(self.engine, self.scripts, self.journal, self.kill, lambda: self.face.facts)
            routes += [route(path, endpoint, method) for method, path, endpoint in control.routes]
        return Starlette(
            routes=routes,
            middleware=[
                *self.face.gates(frozenset(served.path for served in routes)),
                Middleware(Stage, self.engine, self.scripts, self.journal, self.kill, self.face.errors),
            ],
            exception_handlers=self.face.handlers,
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        clock = asyncio.create_task(self.engine.run())
        try:
            yield
        finally:
            clock.cancel()
            with suppress(asyncio.CancelledError):
                await clock


class MockServer(ThreadedServer):
    """A mock server in a thread of this process, on a free port of the loopback. A context manager.

    Takes the fields of ServerConfig, and `host` and `port` (0: any free one). Several may run at once.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **config: Any) -> None:
        super().__init__(host, port)
        self.config = ServerConfig(**config)
        self._mock = Mock(self.config)

    def make(self) -> HttpServer:
        """The server to be run."""
        return MortalServer(self._mock)

    @property
    def engine(self) -> Engine:
        """The engine, to look at. It belongs to the server's thread: change it by HTTP."""
        return self._mock.engine

    @property
    def requests(self) -> list[Exchange]:
        """The completion requests so far, in order of arrival. The latest only: see `journal`."""
        return self._mock.journal.exchanges

    @property
    def journal(self) -> list[Exchange]:
        """Every POST so far, and what a fault befell, in order of arrival. The latest 10,000, by their `number`."""
        return self._mock.journal.all

    @contextmanager
    def faults(self, *faults: dict[str, Any], scope: str = "") -> Iterator[None]:
        """A fault plan for as long as the block lasts: entries as in a scenario's `faults:`. Raises ScenarioError."""
        scripts = self._mock.scripts
        before = scripts.own(scope)
        scripts.set(scope, scripts.of(scope).with_faults(load_scenario({"faults": list(faults)}).faults))
        try:
            yield
        finally:
            if before:
                scripts.set(scope, before)
            else:
                scripts.restore(scope)
