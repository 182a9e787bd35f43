"""SGLang's completions: /v1/chat/completions, /v1/completions, /generate."""

from __future__ import annotations

import os
from typing import Any, NoReturn, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from mock_server.engine.machine import Generation
from mock_server.engine.sglang import BLOCK_TOKENS, SglangEngine
from mock_server.errors import ApiError, GenerationError, bad_request
from mock_server.faces.completions import Completions
from mock_server.replies import sglang_wire, wire
from mock_server.replies.sglang_bodies import GenerateWriter, SglangChatWriter, SglangCompletionWriter
from mock_server.replies.writer import Writer
from mock_server.requests.lengths import Limits
from mock_server.requests.reading import CompletionRequest, Prompt
from mock_server.requests.sglang_generate import ContractError, read_generate
from mock_server.requests.sglang_reading import SglangRequest, read_chat, read_completion


class SglangCompletions(Completions):
    """The OpenAI endpoints of one server."""

    errors = sglang_wire.OPENAI_ERRORS
    block_tokens = BLOCK_TOKENS
    headers_wait = True

    def __init__(self, engine: SglangEngine, limits: Limits, reports_cache: bool = False) -> None:
        super().__init__(engine, limits)
        self.engine: SglangEngine = engine
        self.reports_cache = reports_cache

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions"""
        return await self.answer(request, read_chat, SglangChatWriter)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions"""
        return await self.answer(request, read_completion, SglangCompletionWriter)

    async def read_body(self, http: Request) -> Any:
        """As JSON only."""
        return await sglang_wire.read_checked(http)

    def request_id(self, _http: Request, request: CompletionRequest, _kind: type[Writer]) -> str:
        """Bare hex, or the request's `rid` where it is one request to the engine. Raises ApiError for one in use."""
        alone = len(request.prompts) == request.sampling.n == 1
        if not request.request_id or not alone:
            return os.urandom(16).hex()
        if self.engine.knows(request.request_id):
            raise bad_request(f"Duplicate request ID detected: {request.request_id}")
        return request.request_id

    def writer(self, kind: type[Writer], request_id: str, request: CompletionRequest) -> Writer:
        """Echoes the model's name as it was given."""
        asked = cast("SglangRequest", request)
        asked.reports_cache = self.reports_cache
        asked.weight_version = self.engine.memory.loaded.version
        return kind(request_id, asked.model, asked)

    def room(self, prompt: Prompt) -> int:
        """What the context has left, short of two tokens (init_req_max_new_tokens of the scheduler)."""
        return max(0, self.limits.max_model_len - 2 - prompt.tokens)

    def refusal(self, request: CompletionRequest) -> ApiError | None:
        """What is out of range is found out when the server is not paused."""
        return cast("SglangRequest", request).late

    async def error_of(self, request: CompletionRequest, generation: Generation, receive: Receive) -> ApiError:
        """Nothing is said of a death: the process is gone, and so is the connection."""
        if generation.failed:
            await gone(receive)
        return self.refusal(request) or GenerationError()


class SglangGenerate(SglangCompletions):
    """/generate of one server: with errors of its own, and headers that go out at once."""

    errors = sglang_wire.GENERATE_ERRORS
    headers_wait = False

    async def read_body(self, http: Request) -> Any:
        """As whatever it is."""
        return await sglang_wire.read_json(http)

    async def generate(self, request: Request) -> Response:
        """POST, PUT /generate"""
        try:
            return await self.answer(request, read_generate, GenerateWriter)
        except ContractError as error:
            return wire.body({"error": error.message}, error.status)
        except ApiError as error:
            if error.problems:
                raise
            return wire.body({"error": {"message": error.message}}, error.status)


async def gone(receive: Receive) -> NoReturn:
    """Wait for the end of a connection that nothing more will come through. Raises ClientDisconnect."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
