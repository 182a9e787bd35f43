"""vLLM's OpenAI server, put together: which endpoints there are, by version and by dev mode."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from mock_server.config import ServerConfig
from mock_server.engine.gpu import SimulatedGpu
from mock_server.engine.machine import Engine
from mock_server.engine.stats import EngineStats
from mock_server.errors import ApiError, UnreadableBody
from mock_server.faces.dev_api import DevApi
from mock_server.faces.face import Handler, Kill, route
from mock_server.faces.metrics import Metrics
from mock_server.faces.openai_api import OpenAIApi
from mock_server.faces.tokenize_api import TokenizeApi
from mock_server.faces.vllm_api import VllmApi
from mock_server.faults.schema import EngineDeath
from mock_server.replies import wire
from mock_server.replies.refusals import Refusals
from mock_server.requests.lengths import Limits
from mock_server.serving.gate import Gate
from mock_server.serving.traffic import Traffic
from mock_server.versions import profile


class VllmFace:
    """One version of vLLM. Raises ValueError for a profile that is not there, or a GPU that is too small."""

    last_words_s = 1.0

    def __init__(self, config: ServerConfig, kill: Kill) -> None:
        self.config = config
        self.profile = profile(config.profile)
        stats = EngineStats(config.max_model_len)
        rules, gpu = self.profile.engine, None
        if config.gpu_semantics:
            rules = replace(rules, dies_on_unmapped=True)
            gpu = SimulatedGpu.of_vllm(config.gpu_memory, config.gpu_memory_utilization, config.weights_memory)
        self.engine = Engine(config.tokens_per_second, stats, rules, gpu)
        self.engine.on_crash = lambda: kill(EngineDeath())
        self._refusals = Refusals(self.profile)
        self.errors = self._refusals.shape
        self.traffic = Traffic()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Nothing more than is true of any engine."""
        return {}

    def gates(self, paths: frozenset[str]) -> Sequence[Middleware]:
        """The API key, headers, and the counting of requests."""
        self.traffic.handlers = paths
        config = self.config
        return [Middleware(Gate, self.traffic, self.profile, config.api_key, config.request_id_headers)]

    @property
    def handlers(self) -> Mapping[Any, Handler]:
        """What answers an exception."""
        return {
            ApiError: self._refusals.on_api_error,
            UnreadableBody: wire.on_unreadable_body,
            ClientDisconnect: wire.on_client_gone,
            HTTPException: wire.on_http_error,
        }

    @property
    def routes(self) -> Sequence[Route]:
        """The endpoints."""
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
            route("/v1/chat/completions", openai.chat, "POST"),
            route("/v1/completions", openai.completions, "POST"),
            route("/v1/models", openai.models, "GET"),
            route("/invocations", openai.chat, "POST"),
            route("/health", vllm.health, "GET"),
            route("/ping", vllm.health, "GET", "POST"),
            route("/version", vllm.version, "GET"),
            route("/load", vllm.load, "GET"),
            route("/metrics", vllm.metrics, "GET"),
            route("/metrics{_:path}", vllm.other_metrics),
            route("/tokenize", tokenizer.tokenize, "POST"),
            route("/detokenize", tokenizer.detokenize, "POST"),
            route("/is_scaling_elastic_ep", dev.is_scaling, "POST"),
        ]
        if config.dev_mode:
            routes += self._dev_routes(vllm, dev)
        return [served for served in routes if served.path not in self.profile.absent]

    def _dev_routes(self, vllm: VllmApi, dev: DevApi) -> Sequence[Route]:
        return [
            route("/sleep", vllm.sleep, "POST"),
            route("/wake_up", vllm.wake_up, "POST"),
            route("/is_sleeping", vllm.is_sleeping, "GET"),
            route("/pause", vllm.pause, "POST"),
            route("/resume", vllm.resume, "POST"),
            route("/is_paused", vllm.is_paused, "GET"),
            route("/reset_prefix_cache", dev.reset_prefix_cache, "POST"),
            route("/reset_mm_cache", dev.reset_other_cache, "POST"),
            route("/reset_encoder_cache", dev.reset_other_cache, "POST"),
            route("/collective_rpc", dev.collective_rpc, "POST"),
            route("/server_info", dev.server_info, "GET"),
            route("/get_world_size", dev.world_size, "GET"),
            route("/weight_info", dev.weight_info, "GET"),
            route("/abort_requests", vllm.abort_requests, "POST"),
            route("/release_kv_cache_memory", vllm.release_kv_cache_memory, "POST"),
        ]
