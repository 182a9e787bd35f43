"""The control API under /_mock: what a test asks of the mock that no real server would answer.

It needs no API key, is in no journal, and no fault befalls it. `X-Mock-Scope` (or ?scope=) says whose journal, scenario
and fault plan are meant; without it everybody's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from mock_server.engine.gpu import OutOfMemory, SimulatedGpu
from mock_server.engine.machine import Engine
from mock_server.errors import ApiError
from mock_server.faults.schema import EngineDeath
from mock_server.journal import Journal
from mock_server.replies import wire
from mock_server.requests.fields import Fields
from mock_server.scenario.files import ScenarioError, load_scenario
from mock_server.schema import Strict
from mock_server.scripts import Script, Scripts

Endpoint = Callable[[Request], Awaitable[Response]]
WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_COUNTS = ("running", "waiting", "requests", "answered")
_FLAGS = ("is_sleeping", "is_paused", "dead")


class Claims(Strict):
    """The body of PUT /_mock/gpu."""

    claims: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    """GiB by the name of the process."""


class ControlApi:
    """The endpoints of one server's control API."""

    def __init__(
        self,
        engine: Engine,
        scripts: Scripts,
        journal: Journal,
        kill: Callable[[EngineDeath], None],
        facts: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.engine = engine
        self.scripts = scripts
        self.journal = journal
        self.kill = kill
        self.facts = facts
        self._started = time.monotonic()

    @property
    def routes(self) -> list[tuple[str, str, Endpoint]]:
        """Method, path and endpoint of each."""
        return [
            ("GET", "/_mock/state", self.state),
            ("GET", "/_mock/wait", self.wait),
            ("GET", "/_mock/journal", self.get_journal),
            ("DELETE", "/_mock/journal", self.delete_journal),
            ("POST", "/_mock/reset", self.reset),
            ("DELETE", "/_mock/reset", self.reset),
            ("GET", "/_mock/scenario", self.get_scenario),
            ("PUT", "/_mock/scenario", self.put_scenario),
            ("DELETE", "/_mock/scenario", self.delete_scenario),
            ("GET", "/_mock/faults", self.get_faults),
            ("PUT", "/_mock/faults", self.put_faults),
            ("DELETE", "/_mock/faults", self.delete_faults),
            ("POST", "/_mock/kill", self.post_kill),
            ("GET", "/_mock/gpu", self.get_gpu),
            ("PUT", "/_mock/gpu", self.put_gpu),
        ]

    # --- looking ---

    async def state(self, request: Request) -> Response:
        """GET /_mock/state"""
        return wire.body(self._state(_scope(request)))

    async def wait(self, request: Request) -> Response:
        """GET /_mock/wait?running=2&is_sleeping=true&timeout_s=5: until all of it holds; 408 if it does not in time.

        A count holds when there are at least so many; 0 when there are none.
        """
        fields = Fields(request.query_params, "query")
        counts = {name: fields.integer(name) for name in _COUNTS if name in fields.values}
        flags = {name: fields.boolean(name) for name in _FLAGS if name in fields.values}
        timeout = fields.number("timeout_s")
        unknown = set(fields.values) - {*_COUNTS, *_FLAGS, "timeout_s", "scope"}
        for name in sorted(unknown):
            fields.reject("extra_forbidden", name, f"Give some of: {', '.join((*_COUNTS, *_FLAGS))}", name)
        fields.check()
        end = time.monotonic() + (WAIT_SECONDS if timeout is None else timeout)
        scope = _scope(request)
        while not self._holds(scope, counts, flags):
            if time.monotonic() >= end:
                return wire.body(self._state(scope), 408)
            await asyncio.sleep(_LOOK_SECONDS)
        return wire.body(self._state(scope))

    async def get_journal(self, request: Request) -> Response:
        """GET /_mock/journal?scope=&path=&after=N"""
        fields = Fields(request.query_params, "query")
        after, path = fields.integer("after") or 0, fields.string("path")
        fields.check()
        exchanges = self.journal.select(_scope(request) or None, path, after)
        return wire.body({"exchanges": [exchange.as_json() for exchange in exchanges]})

    def _state(self, scope: str) -> dict[str, Any]:
        engine, script = self.engine, self.scripts.of(scope)
        gpu = engine.memory.gpu
        return {
            "engine": {
                "dead": engine.dead,
                "scheduling": engine.scheduling.value,
                "is_paused": engine.is_paused,
                "is_sleeping": engine.is_sleeping,
                "asleep": sorted(engine.asleep),
                **self.facts(),
            },
            "gpu": gpu.as_json() if gpu else None,
            **self._counts(scope),
            "scope": scope,
            "scopes": self.scripts.scopes,
            "scenario": script.name,
            "seed": self.scripts.seed,
            "faults": len(script.plan.faults),
            "uptime_s": time.monotonic() - self._started,
        }

    def _counts(self, scope: str) -> dict[str, int]:
        """Of requests, in the scope as far as it can be told: the engine knows no scopes."""
        exchanges = [exchange for exchange in self.journal.exchanges if not scope or exchange.scope == scope]
        return {
            "running": self.engine.running,
            "waiting": self.engine.waiting,
            "requests": len(exchanges),
            "answered": sum(exchange.seconds is not None for exchange in exchanges),
            "faulted": sum(bool(exchange.faults) for exchange in exchanges),
        }

    def _holds(self, scope: str, counts: dict[str, int | None], flags: dict[str, bool]) -> bool:
        if any(getattr(self.engine, name) is not wanted for name, wanted in flags.items()):
            return False
        if not counts:
            return True
        there = self._counts(scope)
        return all((there[name] >= wanted) if wanted else not there[name] for name, wanted in counts.items())

    # --- changing ---

    async def delete_journal(self, request: Request) -> Response:
        """DELETE /_mock/journal"""
        self.journal.clear(_scope(request) or None)
        return wire.body({"status": "cleared"})

    async def reset(self, request: Request) -> Response:
        """POST or DELETE /_mock/reset: journal and counts of calls from nothing.

        In no scope also: nobody claims the GPU, the engine is awake, and its weights are loaded.
        """
        scope = _scope(request)
        self.journal.clear(scope or None)
        self.scripts.clear_counts(scope or None)
        if not scope and not self.engine.dead:
            # Others share the engine: a scope leaves it alone.
            self.engine.reset()
        return wire.body({"status": "reset"})

    async def get_scenario(self, request: Request) -> Response:
        """GET /_mock/scenario"""
        return wire.body(_shown(self.scripts.of(_scope(request))))

    async def put_scenario(self, request: Request) -> Response:
        """PUT /_mock/scenario with a scenario as JSON; what it leaves out is default. A wrong one changes nothing."""
        data = await wire.read_object(request)
        script = _checked(lambda: Script.of(load_scenario(data, name=""), self.scripts.seed, "control"))
        self.scripts.set(_scope(request), script)
        return wire.body(_shown(script))

    async def delete_scenario(self, request: Request) -> Response:
        """DELETE /_mock/scenario: back to the one of the start."""
        self.scripts.restore(_scope(request))
        return await self.get_scenario(request)

    async def get_faults(self, request: Request) -> Response:
        """GET /_mock/faults"""
        return wire.body({"faults": _faults(self.scripts.of(_scope(request)))})

    async def put_faults(self, request: Request) -> Response:
        """PUT /_mock/faults with a list of faults, or {"faults": [...]}. A wrong one changes nothing."""
        data = _json(await request.body())
        faults = data["faults"] if isinstance(data, dict) and set(data) == {"faults"} else data
        scope = _scope(request)
        script = _checked(lambda: self.scripts.of(scope).with_faults(load_scenario({"faults": faults}, name="").faults))
        self.scripts.set(scope, script)
        return wire.body({"faults": _faults(script)})

    async def delete_faults(self, request: Request) -> Response:
        """DELETE /_mock/faults: back to the plan of the scenario of the start."""
        self.scripts.restore_faults(_scope(request))
        return await self.get_faults(request)

    async def post_kill(self, request: Request) -> Response:
        """POST /_mock/kill?restart_after_s=1: the engine dies now, as by the fault engine_death."""
        fields = Fields(request.query_params, "query")
        seconds = fields.number("restart_after_s")
        if seconds is not None and not 0 <= seconds <= 86_400:
            fields.reject("range", "restart_after_s", "Input should be from 0 to 86400", seconds)
        fields.check()
        self.kill(EngineDeath(restart_after_s=seconds))
        return wire.body({"status": "dead"})

    # --- the GPU ---

    async def get_gpu(self, _request: Request) -> Response:
        """GET /_mock/gpu: who holds how much of it, in GiB."""
        return wire.body(self._gpu().as_json())

    async def put_gpu(self, request: Request) -> Response:
        """PUT /_mock/gpu {"claims": {"trainer": 60}}: what other processes hold from now on, in GiB.

        409 with PyTorch's words if that does not fit beside the server; nothing changes then.
        """
        gpu = self._gpu()
        try:
            gpu.claim(Claims.model_validate(_json(await request.body())).claims)
        except ValidationError as error:
            detail = error.errors()[0]
            raise ApiError(400, "ClaimError", detail["msg"], ".".join(map(str, detail["loc"]))) from None
        except OutOfMemory as error:
            raise ApiError(409, "OutOfMemoryError", str(error)) from None
        return wire.body(gpu.as_json())

    def _gpu(self) -> SimulatedGpu:
        gpu = self.engine.memory.gpu
        if gpu is None:
            raise ApiError(404, "NotFoundError", "No GPU is simulated: start the server with --gpu-semantics.")
        return gpu


def _scope(request: Request) -> str:
    return request.query_params.get("scope") or request.headers.get("x-mock-scope", "")


def _shown(script: Script) -> dict[str, Any]:
    scenario = script.scenario.model_dump(mode="json", exclude={"faults"}, exclude_unset=True)
    return {"name": script.name, "scenario": {**scenario, "faults": _faults(script)}}


def _faults(script: Script) -> list[dict[str, Any]]:
    return [fault.model_dump(mode="json", exclude_none=True) for fault in script.plan.faults]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ApiError(400, "ScenarioError", f"not JSON: {error}") from None


def _checked(make: Callable[[], Script]) -> Script:
    try:
        return make()
    except ScenarioError as error:
        field = str(error).partition(": ")[0]
        raise ApiError(400, "ScenarioError", str(error), field) from None
