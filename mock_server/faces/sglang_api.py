"""The endpoints that are SGLang's own: is it well, what does it serve, and what a trainer does to its memory."""

from __future__ import annotations

import asyncio
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mock_server.config import ServerConfig
from mock_server.engine.sglang import PauseMode, SglangEngine
from mock_server.engine.sglang_memory import Loaded
from mock_server.errors import SchedulerCrash
from mock_server.faces.face import Kill
from mock_server.faces.sglang_completions import gone
from mock_server.faults.schema import EngineDeath
from mock_server.replies import sglang_wire, wire
from mock_server.requests.fields import Fields
from mock_server.requests.sglang_fields import StructFields, not_null
from mock_server.versions import SglangProfile

_MODES = tuple(mode.value for mode in PauseMode)
_FLUSHED = (
    "Cache flushed.\nPlease check backend logs for more details. "
    "(When there are running or waiting requests, the operation will not be performed.)\n"
)
_UPDATED = "Succeeded to update model weights."
_NOT_FLUSHED = (
    "Weights were updated, but the cache was not flushed because requests are still running or queued. "
    "Retract or finish them, then call /flush_cache."
)


class SglangApi:
    """The endpoints of one server besides its completions."""

    def __init__(self, engine: SglangEngine, config: ServerConfig, version: SglangProfile, kill: Kill) -> None:
        self.engine = engine
        self.config = config
        self.profile = version
        self.kill = kill
        self._well = True

    # --- is it well ---

    async def health(self, request: Request) -> Response:
        """GET /health, /health_generate: generates a token and looks for it in intervals of a second, so that it never
        takes less; 503 when none has come after 20 of them, as while paused. On memory that is released it kills."""
        for _ in range(self.profile.health_looks):
            await asyncio.sleep(self.config.health_seconds)
            if self.engine.generates():
                self._well = True
                return Response()
            if self.engine.dead:
                await gone(request.receive)
        self._well = False
        return Response(status_code=503)

    async def ready(self, _request: Request) -> Response:
        """GET /ready: at once; 503 while paused, and after a /health that was."""
        return Response(status_code=200 if self._well and not self.engine.is_paused else 503)

    async def ping(self, _request: Request) -> Response:
        """GET /ping: the same, but a pause is no illness."""
        return Response(status_code=200 if self._well else 503)

    # --- what it serves ---

    async def root(self, _request: Request) -> Response:
        """GET /"""
        return wire.body("SGLang is running")

    async def models(self, _request: Request) -> Response:
        """GET /v1/models"""
        return wire.body({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/{model}"""
        name = request.path_params["model"]
        if name == self._model:
            return wire.body(self._card())
        message = f"The model '{name}' does not exist"
        kind = "invalid_request_error"
        error = {"message": message, "type": kind, "param": "model", "code": "model_not_found"}
        return wire.body({"error": error}, 404)

    @property
    def _model(self) -> str:
        """The model's name: an update of the weights calls it by their path."""
        return self.engine.memory.loaded.model or self.config.served_model_name

    def _card(self) -> dict[str, Any]:
        name = self._model
        return {
            "id": name,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "sglang",
            "root": name,
            "parent": None,
            "max_model_len": self.config.max_model_len,
        }

    async def model_info(self, _request: Request) -> Response:
        """GET /model_info, /get_model_info"""
        return wire.body({**_recorded()["model_info"], **self._names()})

    async def server_info(self, _request: Request) -> Response:
        """GET /server_info, /get_server_info"""
        config = self.config
        own = {
            **self._names(),
            "context_length": config.max_model_len,
            "enable_memory_saver": config.enable_memory_saver,
            "enable_weights_cpu_backup": config.enable_weights_cpu_backup,
            "version": self.profile.version,
        }
        return wire.body({**_recorded()["server_info"], **own})

    def _names(self) -> dict[str, str]:
        return {
            "model_path": self._model,
            "tokenizer_path": self.config.served_model_name,
            "served_model_name": self._model,
            "weight_version": self.engine.memory.loaded.version,
        }

    # --- pausing ---

    async def pause_generation(self, request: Request) -> Response:
        """POST /pause_generation {"mode": "abort"|"retract"|"in_place"}"""
        fields = await _fields(request, "PauseGenerationReqInput")
        mode = PauseMode(fields.one_of("mode", _MODES, PauseMode.ABORT.value))
        fields.check()
        await self.engine.pause_generation(mode)
        return wire.body({"message": "Generation paused successfully.", "status": "ok"})

    async def continue_generation(self, request: Request) -> Response:
        """POST /continue_generation {}"""
        (await _fields(request, "ContinueGenerationReqInput")).check()
        self.engine.continue_generation()
        return wire.body({"message": "Generation continued successfully.", "status": "ok"})

    async def abort_request(self, request: Request) -> Response:
        """POST /abort_request {"rid": ...} or {"abort_all": true}; {} does nothing."""
        fields = await _fields(request, "AbortReq")
        rid, everything = fields.string("rid"), fields.boolean("abort_all")
        fields.check()
        if everything:
            self.engine.abort()
        elif rid:
            self.engine.abort([rid])
        return Response()

    # --- memory ---

    async def flush_cache(self, request: Request) -> Response:
        """GET, POST /flush_cache?timeout=0: 400 while something runs, after so many seconds."""
        fields = Fields(request.query_params, "query")
        seconds = fields.number("timeout") or 0.0
        if seconds < 0:
            given = request.query_params["timeout"]
            fields.reject(
                "greater_than_equal", "timeout", "Input should be greater than or equal to 0", given, {"ge": 0.0}
            )
        fields.check()
        if await self.engine.idle_within(seconds):
            self.engine.flush_cache()
            return Response(_FLUSHED)
        return Response("Timed out waiting for idle state." if seconds else "Flush cache failed.\n", 400)

    async def release(self, request: Request) -> Response:
        """GET, POST /release_memory_occupation {"tags": [...]}: the server dies of it while something runs."""
        tags = await _tags(request, "ReleaseMemoryOccupationReqInput")
        try:
            self.engine.release(tags)
        except SchedulerCrash:
            return await self._die(request)
        return wire.body(None)

    async def resume(self, request: Request) -> Response:
        """GET, POST /resume_memory_occupation {"tags": [...]}: it dies of a tag that is not released."""
        tags = await _tags(request, "ResumeMemoryOccupationReqInput")
        try:
            self.engine.reclaim(tags)
        except SchedulerCrash:
            return await self._die(request)
        return wire.body(None)

    async def update_weights_from_disk(self, request: Request) -> Response:
        """POST /update_weights_from_disk {"model_path": ...}: any path does. It dies where the weights are released."""
        fields = await _fields(request, "UpdateWeightFromDiskReqInput")
        model, version = fields.string("model_path"), fields.string("weight_version")
        aborts, flushes = fields.boolean("abort_all_requests"), fields.boolean("flush_cache", default=True)
        if "model_path" not in fields.values:
            fields.missing("model_path")
        not_null(fields, "string", ["model_path"])
        fields.check()
        if aborts:
            self.engine.abort()
        try:
            success = await self.engine.update_weights(model or "", version, flushes)
        except SchedulerCrash:
            return await self._die(request)
        message = _UPDATED if success else _NOT_FLUSHED
        if success and version is not None:
            message += f" Weight version updated to {version}."
        content = {"success": success, "message": message, "num_paused_requests": 0}
        return wire.body(content, 200 if success else 400)

    async def update_weight_version(self, request: Request) -> Response:
        """POST /update_weight_version {"new_version": ...}: a name, and nothing else. From source, not recorded."""
        fields = await _fields(request, "UpdateWeightVersionReqInput")
        version, aborts = fields.string("new_version"), fields.boolean("abort_all_requests", default=True)
        if "new_version" not in fields.values:
            fields.missing("new_version")
        not_null(fields, "string", ["new_version"])
        fields.check()
        if aborts:
            self.engine.abort()
        self.engine.memory.loaded = Loaded(self.engine.memory.loaded.model, version or "")
        message = f"Weight version updated to {version}"
        return wire.body({"success": True, "message": message, "new_version": version})

    async def _die(self, request: Request) -> Response:
        self.kill(EngineDeath())
        await gone(request.receive)


async def _fields(request: Request, struct: str) -> StructFields:
    return StructFields(await sglang_wire.read_json(request), struct)


async def _tags(request: Request, struct: str) -> list[str] | None:
    fields = await _fields(request, struct)
    given: list[str] | None = fields.values.get("tags")
    if given is not None:
        fields.each_string("tags")
    fields.check()
    return given


@cache
def _recorded() -> dict[str, Any]:
    path = Path(__file__).with_name("sglang_info.json")
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return info
