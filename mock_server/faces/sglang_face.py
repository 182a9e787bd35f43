"""SGLang's server, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from mock_server.config import ServerConfig
from mock_server.engine.gpu import SimulatedGpu
from mock_server.engine.sglang import SglangEngine
from mock_server.engine.sglang_memory import SglangMemory
from mock_server.engine.stats import EngineStats
from mock_server.errors import ApiError
from mock_server.faces.face import Handler, Kill, route
from mock_server.faces.sglang_api import SglangApi
from mock_server.faces.sglang_completions import SglangCompletions, SglangGenerate
from mock_server.faces.sglang_tokenize import SglangTokenize
from mock_server.faults.schema import EngineDeath
from mock_server.replies import sglang_wire, wire
from mock_server.requests.lengths import Limits
from mock_server.serving.keys import KeyGate
from mock_server.serving.stage import CONTROL
from mock_server.versions import sglang_profile


class SglangFace:
    """One version of SGLang. Raises ValueError for a profile that is not there, or a GPU that is too small."""

    errors = sglang_wire.OPENAI_ERRORS
    last_words_s = 0.0

    def __init__(self, config: ServerConfig, kill: Kill) -> None:
        self.config = config
        self.profile = sglang_profile(config.profile)
        gpu = None
        if config.gpu_semantics:
            gpu = SimulatedGpu.of_sglang(config.gpu_memory, config.gpu_memory_utilization, config.weights_memory)
        memory = SglangMemory(
            gpu,
            tags=self.profile.memory,
            saver=config.enable_memory_saver,
            saves_graphs=config.memory_saver_cuda_graph,
            backup=config.enable_weights_cpu_backup,
        )
        self.engine = SglangEngine(config.tokens_per_second, EngineStats(config.max_model_len), memory)
        self.engine.on_crash = lambda: kill(EngineDeath())
        self._api = SglangApi(self.engine, config, self.profile, kill)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What memory there is."""
        return {"memory": self.engine.memory.facts}

    def gates(self, _paths: frozenset[str]) -> Sequence[Middleware]:
        """The keys; then every web page may call."""
        keys = self.config.api_key, self.config.admin_api_key
        admin = [served.path for served in self._admin_routes]
        return [
            Middleware(KeyGate, *keys, admin, (*self.profile.open, CONTROL)),
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["*"],
                allow_headers=["*"],
                allow_credentials=True,
            ),
        ]

    @property
    def handlers(self) -> Mapping[Any, Handler]:
        """What answers an exception."""
        return {
            ApiError: sglang_wire.error_handler(self.profile.sources),
            ClientDisconnect: wire.on_client_gone,
            HTTPException: wire.on_http_error,
        }

    @property
    def routes(self) -> Sequence[Route]:
        """The endpoints."""
        api = self._api
        limits = Limits(self.config.served_model_name, self.config.max_model_len)
        completions = SglangCompletions(self.engine, limits, self.config.enable_cache_report)
        tokenizer = SglangTokenize(limits)
        return [
            route("/v1/chat/completions", completions.chat, "POST"),
            route("/v1/completions", completions.completions, "POST"),
            route("/generate", SglangGenerate(self.engine, limits).generate, "POST", "PUT"),
            route("/invocations", completions.chat, "POST"),
            route("/v1/models", api.models, "GET"),
            route("/v1/models/{model:path}", api.model, "GET"),
            route("/", api.root, "GET", "HEAD"),
            route("/health", api.health, "GET"),
            route("/health_generate", api.health, "GET"),
            route("/ready", api.ready, "GET"),
            route("/ping", api.ping, "GET"),
            route("/model_info", api.model_info, "GET"),
            route("/get_model_info", api.model_info, "GET"),
            route("/server_info", api.server_info, "GET"),
            route("/get_server_info", api.server_info, "GET"),
            *(route(path, tokenizer.tokenize, "POST") for path in ("/tokenize", "/v1/tokenize")),
            *(route(path, tokenizer.detokenize, "POST") for path in ("/detokenize", "/v1/detokenize")),
            *self._admin_routes,
        ]

    @property
    def _admin_routes(self) -> Sequence[Route]:
        """What the admin key opens, where there is one."""
        api = self._api
        return [
            route("/flush_cache", api.flush_cache, "GET", "POST"),
            route("/release_memory_occupation", api.release, "GET", "POST"),
            route("/resume_memory_occupation", api.resume, "GET", "POST"),
            route("/update_weights_from_disk", api.update_weights_from_disk, "POST"),
            route("/update_weight_version", api.update_weight_version, "POST"),
            route("/abort_request", api.abort_request, "POST"),
            route("/pause_generation", api.pause_generation, "POST"),
            route("/continue_generation", api.continue_generation, "POST"),
        ]
