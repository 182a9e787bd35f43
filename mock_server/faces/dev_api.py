"""The endpoints of VLLM_SERVER_DEV_MODE=1 besides sleeping and pausing: caches, worker calls, information."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import Response

from mock_server.engine.machine import Engine
from mock_server.errors import ApiError, EngineDeadError, WorkerError, bad_request
from mock_server.replies import wire
from mock_server.requests.fields import Fields
from mock_server.versions import Profile

_CONFIG_FORMATS = ("text", "json")
_LOADING = ("reload_weights", "update_weights")
"""The worker's methods after which the weights are a model's."""


class DevApi:
    """Caches, worker calls and information of one server."""

    def __init__(self, engine: Engine, model: str, version: Profile) -> None:
        self._profile = version
        self.engine = engine
        self.model = model

    async def reset_prefix_cache(self, request: Request) -> Response:
        """POST /reset_prefix_cache?reset_running_requests=false: fails, with 200, while a request runs."""
        fields = Fields(request.query_params, "query")
        reset_running = fields.boolean("reset_running_requests")
        fields.boolean("reset_external")
        fields.check()
        success = self.engine.reset_prefix_cache(reset_running)
        return wire.body({"success": success}) if self._profile.resets_say else Response()

    async def reset_other_cache(self, _request: Request) -> Response:
        """POST /reset_mm_cache, /reset_encoder_cache: 200 and empty; there is nothing in them."""
        return Response()

    async def collective_rpc(self, request: Request) -> Response:
        """POST /collective_rpc {"method": ..., "args": [...], "kwargs": {...}}: one worker, which answers null."""
        try:
            body = json.loads(await request.body())
        except ValueError as error:
            raise ApiError(400, "Bad Request", f"JSON decode error: {error}") from None
        if not isinstance(body, dict):
            raise ApiError(400, "Bad Request", "Request body must be a JSON object")
        method = body.get("method")
        if method is None:
            raise ApiError(400, "Bad Request", "Missing 'method' in request body")
        _check_call(method, body.get("args", []), body.get("kwargs", {}))
        if method in _LOADING:
            self.engine.load_weights()
            if self.engine.dead:
                raise EngineDeadError
        return wire.body({"results": [None]})

    async def server_info(self, request: Request) -> Response:
        """GET /server_info?config_format=text|json: keys as recorded, values mostly empty."""
        fields = Fields(request.query_params, "query")
        kind = fields.one_of("config_format", _CONFIG_FORMATS, "text")
        fields.check()
        info = _server_info()
        config = info["vllm_config"] if kind == "json" else f"model='{self.model}', served_model_name={self.model}"
        return wire.body({**info, "vllm_config": config})

    async def world_size(self, _request: Request) -> Response:
        """GET /get_world_size"""
        return wire.body({"world_size": 1})

    async def weight_info(self, _request: Request) -> Response:
        """GET /weight_info"""
        return wire.body({"weight_version": "default"})

    async def is_scaling(self, _request: Request) -> Response:
        """POST /is_scaling_elastic_ep: served without dev mode too."""
        return wire.body({"is_scaling_elastic_ep": False})


def _check_call(method: Any, args: Any, kwargs: Any) -> None:
    """Raises WorkerError, or ApiError for what cannot even be sent to the worker."""
    if not isinstance(args, list | str | dict):
        raise bad_request(f"'{type(args).__name__}' object is not iterable")
    arity = _worker().get(method) if isinstance(method, str) else None
    if arity is None:
        raise WorkerError("collective_rpc", f"'CPUWorker' object has no attribute '{method}'")
    least, most = arity
    given = len(args) + len(kwargs or {})
    if given > most:
        takes = f"{most + 1} positional argument{'s' if most else ''}"
        if least < most:
            takes = f"from {least + 1} to {most + 1} positional arguments"
        reason = f"Worker.{method}() takes {takes} but {given + 1} were given"
        raise WorkerError("collective_rpc", reason)
    if given < least:
        count = least - given
        arguments = f"{count} required positional argument{'s' if count > 1 else ''}"
        raise WorkerError("collective_rpc", f"Worker.{method}() missing {arguments}")


@cache
def _worker() -> dict[str, tuple[int, int]]:
    text = Path(__file__).with_name("worker.yaml").read_text(encoding="utf-8")
    return {name: (least, most) for name, (least, most) in yaml.safe_load(text).items()}


@cache
def _server_info() -> dict[str, Any]:
    info: dict[str, Any] = json.loads(Path(__file__).with_name("server_info.json").read_text(encoding="utf-8"))
    return info
