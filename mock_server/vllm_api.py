"""The vLLM face: health and version, and the endpoints of VLLM_SERVER_DEV_MODE=1 (contract section 2)."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from mock_server import wire
from mock_server.engine import Engine, Mode
from mock_server.errors import ApiError
from mock_server.fields import Fields

VERSION = "0.32.0"
_MODES = tuple(mode.value for mode in Mode)


class VllmApi:
    """The endpoints of one server that are vLLM's own."""

    def __init__(self, engine: Engine, model: str) -> None:
        self.engine = engine
        self.model = model

    # --- always there ---

    async def health(self, _request: Request) -> Response:
        """GET /health, /ping: 200 and empty, also while asleep or paused."""
        return Response()

    async def version(self, _request: Request) -> Response:
        """GET /version"""
        return wire.body({"version": VERSION})

    async def load(self, _request: Request) -> Response:
        """GET /load: always 0, as on a server without --enable-server-load-tracking."""
        return wire.body({"server_load": 0})

    async def metrics(self, _request: Request) -> Response:
        """GET /metrics: only the two gauges that say what is in flight."""
        labels = f'{{engine="0",model_name="{self.model}"}}'
        # What hangs in a sleeping engine is not "waiting" there: gauges move with engine steps only (section 4).
        gauges = {"vllm:num_requests_running": self.engine.running, "vllm:num_requests_waiting": 0}
        lines = [f"# TYPE {name} gauge\n{name}{labels} {float(value)}\n" for name, value in gauges.items()]
        return Response("".join(lines), media_type="text/plain; version=1.0.0; charset=utf-8")

    # --- in dev mode ---

    async def sleep(self, request: Request) -> Response:
        """POST /sleep?level=0|1|2&mode=abort|wait|keep. A body is ignored."""
        fields = Fields(request.query_params, "query")
        level = _level(fields)
        mode = Mode(fields.one_of("mode", _MODES, Mode.ABORT.value))
        fields.check()
        await self.engine.sleep(level, mode)
        return wire.body({"status": "sleeping", "level": level})

    async def wake_up(self, request: Request) -> Response:
        """POST /wake_up?tags=weights&tags=kv_cache"""
        tags = request.query_params.getlist("tags") or None
        self.engine.wake_up(tags)
        return wire.body({"status": "sleeping" if self.engine.asleep else "awake", "tags": tags})

    async def is_sleeping(self, _request: Request) -> Response:
        """GET /is_sleeping"""
        return wire.body({"is_sleeping": self.engine.is_sleeping})

    async def pause(self, request: Request) -> Response:
        """POST /pause?mode=abort|wait|keep&clear_cache=true"""
        fields = Fields(request.query_params, "query")
        mode = Mode(fields.one_of("mode", _MODES, Mode.ABORT.value))
        clear_cache = fields.boolean("clear_cache", default=True)
        fields.check()
        await self.engine.pause(mode, clear_cache)
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
        ids = body.get("request_ids") if isinstance(body, dict) else ()
        if ids is not None and not (isinstance(ids, list) and all(isinstance(name, str) for name in ids)):
            raise ApiError(400, "Bad Request", "Body must be an object; request_ids must be a list of strings")
        return wire.body({"status": "aborted", "aborted": self.engine.abort(ids)})


def _level(fields: Fields) -> int:
    level = fields.integer("level")
    if level is None:
        return 1
    if level > 2:
        fields.reject("less_than_equal", "level", "Input should be less than or equal to 2", level, {"le": 2})
    if level < 0:
        fields.reject("greater_than_equal", "level", "Input should be greater than or equal to 0", level, {"ge": 0})
    return level
