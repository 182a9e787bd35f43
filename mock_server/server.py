"""The mock server: its settings, its ASGI app, and a server of its own in a thread (MockServer).

with MockServer(tokens_per_second=200) as server:
    client = openai.OpenAI(base_url=server.base_url + "/v1", api_key="-")
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from mock_server.control import ControlApi
from mock_server.engine.gpu import SimulatedGpu
from mock_server.engine.machine import Engine
from mock_server.engine.stats import EngineStats
from mock_server.errors import ApiError, UnreadableBody
from mock_server.faces.dev_api import DevApi
from mock_server.faces.metrics import Metrics
from mock_server.faces.openai_api import OpenAIApi
from mock_server.faces.tokenize_api import TokenizeApi
from mock_server.faces.vllm_api import VllmApi
from mock_server.faults.schema import EngineDeath
from mock_server.journal import Exchange, Journal
from mock_server.replies import wire
from mock_server.replies.refusals import Refusals
from mock_server.requests.reading import Limits
from mock_server.scenario.files import load_scenario
from mock_server.scenario.script import Scenario
from mock_server.scripts import Scripts
from mock_server.serving.gate import Gate
from mock_server.serving.http_server import HttpServer, MortalServer
from mock_server.serving.stage import Stage
from mock_server.serving.threaded import ThreadedServer
from mock_server.serving.traffic import Traffic
from mock_server.versions import DEFAULT_PROFILE, profile


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a mock server behaves. Names follow vLLM's flags."""

    scenario: Scenario | dict[str, Any] | str | Path | None = None
    """A script, a YAML file, plain data, or None for the bundled script."""
    seed: int = 0
    """Another seed gives other draws, so other errors and other words, for every request."""
    tokens_per_second: float | None = None
    """Speed of each generation; None answers at once."""
    served_model_name: str = "genrm-demo"
    max_model_len: int = 32768
    """Tokens (bytes) of prompt and answer together."""
    api_key: str | None = None
    dev_mode: bool = True
    """What VLLM_SERVER_DEV_MODE=1 does: without it /sleep and its like are 404."""
    request_id_headers: bool = False
    journal_file: str | Path | None = None
    """Where each exchange is appended when it has ended, as a line of JSON."""
    control: bool = True
    """Whether the control API answers under /_mock."""
    profile: str = DEFAULT_PROFILE
    """The server version to be: a name from mock_server/profiles."""
    gpu_semantics: bool = False
    """Behave as with a GPU under it: memory that sleeps cannot be computed on, and a GPU is simulated."""
    gpu_memory: float = 80.0
    """GiB of the simulated GPU."""
    gpu_memory_utilization: float = 0.9
    """The share of it that the server takes."""
    weights_memory: float = 15.0
    """GiB of the weights; what they leave of the server's share is its KV cache."""


class Mock:
    """One mock server without its socket: engine, scripts, journal and the ASGI app over them.

    Raises ScenarioError when the scenario is wrong, ValueError for a profile that is not there or a GPU that is too
    small, OSError for a journal file that cannot be written.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.profile = profile(config.profile)
        stats = EngineStats(config.max_model_len)
        rules, gpu = self.profile.engine, None
        if config.gpu_semantics:
            rules = replace(rules, dies_on_unmapped=True)
            gpu = SimulatedGpu.of_vllm(config.gpu_memory, config.gpu_memory_utilization, config.weights_memory)
        self.engine = Engine(config.tokens_per_second, stats, rules, gpu)
        self.engine.on_crash = lambda: self.kill(EngineDeath())
        self.traffic = Traffic()
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
        routes = self._routes()
        self.traffic.handlers = frozenset(route.path for route in routes)
        return Starlette(
            routes=routes,
            middleware=[
                Middleware(Gate, self.traffic, self.profile, self.config.api_key, self.config.request_id_headers),
                Middleware(Stage, self.engine, self.scripts, self.journal, self.kill),
            ],
            exception_handlers={
                ApiError: Refusals(self.profile).on_api_error,
                UnreadableBody: wire.on_unreadable_body,
                ClientDisconnect: wire.on_client_gone,
                HTTPException: wire.on_http_error,
            },
            lifespan=self._lifespan,
        )

    def _routes(self) -> list[Route]:
        config = self.config
        digest = hashlib.blake2b(config.served_model_name.encode(errors="replace"), digest_size=4).hexdigest()
        limits = Limits(config.served_model_name, config.max_model_len, self.profile)
        fingerprint = f"vllm-{self.profile.version}-{digest}" if self.profile.fingerprint else None
        openai = OpenAIApi(self.engine, limits, fingerprint)
        metrics = Metrics(self.engine, config.served_model_name, self.traffic, self.profile)
        vllm = VllmApi(self.engine, metrics, self.profile)
        tokenizer = TokenizeApi(limits)
        dev = DevApi(self.engine, config.served_model_name, self.profile)
        routes = [
            _route("/v1/chat/completions", openai.chat, "POST"),
            _route("/v1/completions", openai.completions, "POST"),
            _route("/v1/models", openai.models, "GET"),
            _route("/invocations", openai.chat, "POST"),
            _route("/health", vllm.health, "GET"),
            _route("/ping", vllm.health, "GET", "POST"),
            _route("/version", vllm.version, "GET"),
            _route("/load", vllm.load, "GET"),
            _route("/metrics", vllm.metrics, "GET"),
            _route("/metrics{_:path}", vllm.other_metrics),
            _route("/tokenize", tokenizer.tokenize, "POST"),
            _route("/detokenize", tokenizer.detokenize, "POST"),
            _route("/is_scaling_elastic_ep", dev.is_scaling, "POST"),
        ]
        if config.dev_mode:
            routes += [
                _route("/sleep", vllm.sleep, "POST"),
                _route("/wake_up", vllm.wake_up, "POST"),
                _route("/is_sleeping", vllm.is_sleeping, "GET"),
                _route("/pause", vllm.pause, "POST"),
                _route("/resume", vllm.resume, "POST"),
                _route("/is_paused", vllm.is_paused, "GET"),
                _route("/reset_prefix_cache", dev.reset_prefix_cache, "POST"),
                _route("/reset_mm_cache", dev.reset_other_cache, "POST"),
                _route("/reset_encoder_cache", dev.reset_other_cache, "POST"),
                _route("/collective_rpc", dev.collective_rpc, "POST"),
                _route("/server_info", dev.server_info, "GET"),
                _route("/get_world_size", dev.world_size, "GET"),
                _route("/weight_info", dev.weight_info, "GET"),
                _route("/abort_requests", vllm.abort_requests, "POST"),
                _route("/release_kv_cache_memory", vllm.release_kv_cache_memory, "POST"),
            ]
        routes = [route for route in routes if route.path not in self.profile.absent]
        if config.control:
            control = ControlApi(self.engine, self.scripts, self.journal, self.kill)
            routes += [_route(path, endpoint, method) for method, path, endpoint in control.routes]
        return routes

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
        """The completion requests so far, in order of arrival."""
        return self._mock.journal.exchanges

    @property
    def journal(self) -> list[Exchange]:
        """Every POST so far, and what a fault befell, in order of arrival."""
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


def _route(path: str, endpoint: Any, *methods: str) -> Route:
    route = Route(path, endpoint, methods=list(methods))
    # Starlette adds HEAD to every GET; the real server answers it with 405. Without methods a route takes them all.
    route.methods = set(methods)
    return route
