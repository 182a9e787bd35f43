"""SGLang's completions: /v1/chat/completions, /v1/completions, /generate."""

from __future__ import annotations

import os
from typing import Any, NoReturn, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from mock_server.engine.machine import Generation
from mock_server.errors import ApiError, GenerationError
from mock_server.faces.completions import Completions
from mock_server.replies import sglang_wire
from mock_server.replies.sglang_bodies import GenerateWriter, SglangChatWriter, SglangCompletionWriter
from mock_server.replies.writer import Writer
from mock_server.requests.reading import CompletionRequest, Prompt
from mock_server.requests.sglang_reading import SglangRequest, read_chat, read_completion, read_generate


class SglangCompletions(Completions):
    """The completions of one server."""

    errors = sglang_wire.FLAT_ERRORS
    headers_wait = True

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions"""
        return await self.answer(request, read_chat, SglangChatWriter)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions"""
        return await self.answer(request, read_completion, SglangCompletionWriter)

    async def generate(self, request: Request) -> Response:
        """POST /generate"""
        return await self.answer(request, read_generate, GenerateWriter)

    async def read_object(self, http: Request) -> dict[str, Any]:
        """As orjson reads it: no NaN, no lone surrogates."""
        return await sglang_wire.read_object(http)

    def request_id(self, _http: Request, request: CompletionRequest, _kind: type[Writer]) -> str:
        """Bare hex, or the request's `rid` where it is one request to the engine."""
        alone = len(request.prompts) == request.sampling.n == 1
        return request.request_id if request.request_id and alone else os.urandom(16).hex()

    def writer(self, kind: type[Writer], request_id: str, request: CompletionRequest) -> Writer:
        """Echoes the model's name as it was given."""
        return kind(request_id, cast("SglangRequest", request).model, request)

    def room(self, prompt: Prompt) -> int:
        """What the context has left, short of two tokens (init_req_max_new_tokens of the scheduler)."""
        return max(0, self.limits.max_model_len - 2 - prompt.tokens)

    async def error_of(self, generation: Generation, receive: Receive) -> ApiError:
        """Nothing is said of a death: the process is gone, and so is the connection."""
        if generation.failed:
            await gone(receive)
        return GenerationError()


async def gone(receive: Receive) -> NoReturn:
    """Wait for the end of a connection that nothing more will come through. Raises ClientDisconnect."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
