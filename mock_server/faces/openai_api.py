"""vLLM's OpenAI face: /v1/chat/completions, /v1/completions, /v1/models."""

from __future__ import annotations

import os
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from mock_server.engine.machine import Engine, Generation
from mock_server.errors import ApiError, EngineDeadError, GenerationError
from mock_server.faces.completions import Completions
from mock_server.replies import wire
from mock_server.replies.bodies import ChatWriter, CompletionWriter
from mock_server.replies.refusals import Refusals
from mock_server.replies.writer import Writer
from mock_server.requests.lengths import Limits
from mock_server.requests.reading import CompletionRequest, Prompt, read_chat, read_completion


class OpenAIApi(Completions):
    """The endpoints under /v1 of one server."""

    headers_wait = False

    def __init__(self, engine: Engine, limits: Limits, fingerprint: str | None) -> None:
        super().__init__(engine, limits)
        self.errors = Refusals(limits.profile).shape
        self.fingerprint = fingerprint

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions"""
        return await self.answer(request, read_chat, ChatWriter)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions"""
        return await self.answer(request, read_completion, CompletionWriter)

    async def models(self, _request: Request) -> Response:
        """GET /v1/models"""
        now = int(time.time())
        permission = {
            "id": f"modelperm-{os.urandom(8).hex()}",
            "object": "model_permission",
            "created": now,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        model = {
            "id": self.limits.model,
            "object": "model",
            "created": now,
            "owned_by": "vllm",
            "root": self.limits.model,
            "parent": None,
            "max_model_len": self.limits.max_model_len,
            "permission": [permission],
        }
        return wire.body({"object": "list", "data": [model]})

    async def read_body(self, http: Request) -> Any:
        """As the standard library reads it."""
        return await wire.read_object(http)

    def request_id(self, http: Request, request: CompletionRequest, kind: type[Writer]) -> str:
        """By the header X-Request-Id, or the body, or random."""
        name = http.headers.get("x-request-id", request.request_id)
        return f"{kind.id_prefix}-{os.urandom(8).hex() if name is None else name}"

    def writer(self, kind: type[Writer], request_id: str, request: CompletionRequest) -> Writer:
        """Names the served model, whichever the request names."""
        return kind(request_id, self.limits.model, request, self.fingerprint)

    def room(self, prompt: Prompt) -> int:
        """What the context has left; there is always place for one token."""
        return max(1, self.limits.max_model_len - prompt.tokens)

    async def error_of(self, _request: CompletionRequest, generation: Generation, _receive: Receive) -> ApiError:
        """A 500, or an event in a stream."""
        return EngineDeadError() if generation.failed else GenerationError()
