"""The vLLM face: health and version, and the endpoints of VLLM_SERVER_DEV_MODE=1 (contract section 2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mock_server.engine.machine import Engine, Mode
from mock_server.errors import ApiError, EngineCallError, bad_request
from mock_server.faces.metrics import CONTENT_TYPE, OTHER_CONTENT_TYPE, Metrics
from mock_server.replies import wire
from mock_server.requests.fields import Fields
from mock_server.versions import Profile

DRAINED_SECONDS = 0.02
"""How long a pause that has waited for requests takes after the last of them."""
_MODES = tuple(mode.value for mode in Mode)


class VllmApi:
    """The endpoints of one server that are vLLM's own."""

    def __init__(self, engine: Engine, metrics: Metrics, version: Profile) -> None:
        self._profile = version
        self.engine = engine
        self._metrics = metrics

    # --- always there ---

    async def health(self, _request: Request) -> Response:
        """GET /health, /ping: 200 and empty, also while asleep or paused."""
        return Response()

    async def version(self, _request: Request) -> Response:
        """GET /version"""
        return wire.body({"version": self._profile.version})

    async def load(self, _request: Request) -> Response:
        """GET /load: always 0, as on a server without --enable-server-load-tracking."""
        return wire.body({"server_load": 0})

    async def metrics(self, _request: Request) -> Response:
        """GET /metrics"""
        return Response(self._metrics.page(), media_type=CONTENT_TYPE)

    async def other_metrics(self, _request: Request) -> Response:
        """Any other method, and any path that begins with /metrics: the same page, in pieces."""
        return wire.EventStream(_once(self._metrics.page()), OTHER_CONTENT_TYPE)

    # --- in dev mode ---

    async def sleep(self, request: Request) -> Response:
        """POST /sleep?level=0|1|2&mode=abort|wait|keep. A body is ignored."""
        fields = Fields(request.query_params, "query")
        level = _level(fields) if self._profile.typed_sleep else self._any_level(request.query_params.get("level", "1"))
        mode = self._mode(fields)
        fields.check()
        with self._metrics.operation("sleep"):
            await self.engine.sleep(level, mode)
            await _settled(mode)
        return self._slept({"status": "sleeping", "level": level})

    def _any_level(self, text: str) -> int:
        """What versions before 0.32 take for a level: any number. Raises ApiError (400) or EngineCallError (500)."""
        try:
            return int(text)
        except ValueError as error:
            if self._profile.bare_errors:
                raise EngineCallError("sleep", error) from None
            raise bad_request(str(error)) from None

    def _mode(self, fields: Fields) -> Mode:
        given = fields.values.get("mode", Mode.ABORT.value)
        if not self._profile.engine.sleep_pauses:
            return Mode.ABORT  # there is none, and a query is not looked at for what is not asked
        if not self._profile.typed_sleep and given not in _MODES:
            raise EngineCallError("sleep", f"Invalid pause mode: {given}")
        return Mode(fields.one_of("mode", _MODES, Mode.ABORT.value))

    async def wake_up(self, request: Request) -> Response:
        """POST /wake_up?tags=weights&tags=kv_cache"""
        tags = request.query_params.getlist("tags") or None
        with self._metrics.operation("wake"):
            self.engine.wake_up(tags)
        return self._slept({"status": "sleeping" if self.engine.asleep else "awake", "tags": tags})

    def _slept(self, answer: dict[str, Any]) -> Response:
        return wire.body(answer) if self._profile.sleep_bodies else Response()

    async def release_kv_cache_memory(self, _request: Request) -> Response:
        """POST /release_kv_cache_memory: always 500, for there is no GPU; without a pause for that reason."""
        with self._metrics.operation("release_kv_cache_memory"):
            self.engine.release_kv_cache_memory()
        return wire.body({"status": "kv_cache_released"})

    async def is_sleeping(self, _request: Request) -> Response:
        """GET /is_sleeping"""
        return wire.body({"is_sleeping": self.engine.is_sleeping})

    async def pause(self, request: Request) -> Response:
        """POST /pause?mode=abort|wait|keep&clear_cache=true"""
        fields = Fields(request.query_params, "query")
        mode = Mode(fields.one_of("mode", _MODES, Mode.ABORT.value))
        if self._profile.waits_for_inflight and fields.boolean("wait_for_inflight_requests"):
            mode = Mode.WAIT
        clear_cache = fields.boolean("clear_cache", default=True)
        fields.check()
        await self.engine.pause(mode, clear_cache)
        await _settled(mode)
        return wire.body({"status": "paused"})

    async def resume(self, _request: Request) -> Response:
        """POST /resume"""
        self.engine.resume()
        return wire.body({"status": "resumed"})

    async def is_paused(self, _request: Request) -> Response:
        """GET /is_paused"""
        return wire.body({"is_paused": self.engine.is_paused})

    async def abort_requests(self, request: Request) -> Response:
        """POST /abort_requests {} for all, {"request_ids": ["chatcmpl-..."]} for some"""
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise ApiError(400, "Bad Request", "Invalid JSON format") from None
        if not isinstance(body, dict):
            raise ApiError(400, "Bad Request", "Request body must be a JSON object")
        ids = body.get("request_ids") or None
        if not isinstance(ids, str | list | None):
            return wire.body({"error": f"Failed to abort requests: '{type(ids).__name__}' object is not iterable"}, 500)
        return wire.body({"status": "aborted", "aborted": self.engine.abort(ids)})


async def _settled(mode: Mode) -> None:
    """Who has waited for requests answers after them: the real server takes as long."""
    if mode is Mode.WAIT:
        await asyncio.sleep(DRAINED_SECONDS)


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _level(fields: Fields) -> int:
    level = fields.integer("level")
    if level is None:
        return 1
    if level > 2:
        fields.reject("less_than_equal", "level", "Input should be less than or equal to 2", level, {"le": 2})
    if level < 0:
        fields.reject("greater_than_equal", "level", "Input should be greater than or equal to 0", level, {"ge": 0})
    return level
