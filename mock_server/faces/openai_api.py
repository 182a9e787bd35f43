"""The OpenAI face: /v1/chat/completions, /v1/completions, /v1/models. Thin: it reads, submits, waits and writes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from mock_server.engine.machine import Engine, Generation, Plan
from mock_server.engine.prefix_cache import block_keys
from mock_server.errors import ApiError, EngineDeadError, GenerationError, UnreadableBody
from mock_server.journal import Exchange
from mock_server.judge.answers import Answer, Judge
from mock_server.judge.draws import Draws
from mock_server.replies import wire
from mock_server.replies.bodies import ChatWriter, CompletionWriter, Writer
from mock_server.replies.refusals import Refusals
from mock_server.requests.reading import CompletionRequest, Limits, Prompt, read_chat, read_completion
from mock_server.requests.sampling import plan
from mock_server.requests.structured import Constraint

Reader = Callable[[dict[str, Any], Limits], CompletionRequest]


class OpenAIApi:
    """The endpoints under /v1 of one server."""

    def __init__(self, engine: Engine, limits: Limits, fingerprint: str | None) -> None:
        self.engine = engine
        self.limits = limits
        self.fingerprint = fingerprint
        self._refusals = Refusals(limits.profile)
        self._fresh = count()

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions"""
        return await self._journaled(request, read_chat, ChatWriter)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions"""
        return await self._journaled(request, read_completion, CompletionWriter)

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

    async def _journaled(self, http: Request, read: Reader, kind: type[Writer]) -> Response:
        exchange: Exchange = http.scope["mock.exchange"]  # opened by the Stage, which every request passes
        try:
            exchange.body = await wire.read_object(http)
            request = read(exchange.body, self.limits)
        except ApiError as error:
            exchange.status = error.status
            raise
        except UnreadableBody:
            exchange.status = 400
            raise
        return await self._complete(http, request, kind, exchange)

    async def _complete(
        self, http: Request, request: CompletionRequest, kind: type[Writer], exchange: Exchange
    ) -> Response:
        name = http.headers.get("x-request-id", request.request_id)
        request_id = f"{kind.id_prefix}-{os.urandom(8).hex() if name is None else name}"
        exchange.request_id = request_id
        exchange.messages = [message for prompt in request.prompts for message in prompt.messages]
        judge: Judge = http.scope["mock.judge"]
        plans = self._plans(request, kind, exchange, partial(self._answer, judge, request))
        garbled = partial(self._plans, request, kind, exchange, partial(self._garbage, judge, request))
        generation = Generation(request_id, plans, garbled)
        self._count(request, plans)
        self.engine.submit(generation)
        writer = kind(request_id, self.limits.model, self.fingerprint, request)
        if request.stream:
            exchange.status = 200
            return wire.EventStream(self._events(http.receive, generation, writer, exchange))
        if not generation.finished:
            await self._until_finished(http.receive, generation)
        _note(exchange, generation)
        if generation.failed:
            exchange.status = 500
            raise EngineDeadError
        if generation.broken:
            exchange.status = 500
            raise GenerationError
        return wire.body(writer.whole(generation.choices))

    def _plans(
        self, request: CompletionRequest, kind: type[Writer], exchange: Exchange, answer_of: Callable[..., Answer]
    ) -> list[Plan]:
        """What each choice is going to say: `answer_of` (prompt, number of the choice), within the request's limits."""
        plans: list[Plan] = []
        exchange.answers = []
        for number, prompt in enumerate(request.prompts):
            engine_id = f"{exchange.request_id}-{number}" if kind.prompts_apart else ""
            blocks = block_keys(prompt.text.encode(errors="replace"))
            for index in range(request.sampling.n):
                answer = answer_of(prompt, index)
                exchange.answers.append(answer)
                said = plan(answer, request.sampling, self._room(request, prompt))
                said.engine_id = engine_id
                said.prompt_tokens, said.prompt_blocks = prompt.tokens, blocks
                plans.append(said)
        return plans

    def _room(self, request: CompletionRequest, prompt: Prompt) -> int:
        """The most tokens that a choice may have."""
        room = max(1, self.limits.max_model_len - prompt.tokens)
        return min(room, request.sampling.max_tokens or room)

    def _count(self, request: CompletionRequest, plans: Sequence[Plan]) -> None:
        stats, n = self.engine.stats, request.sampling.n
        stats.n.observe(n)
        for number, said in enumerate(plans):
            stats.max_tokens.observe(self._room(request, request.prompts[number // n]))
            stats.request_most_tokens.observe(said.tokens)

    def _answer(self, judge: Judge, request: CompletionRequest, prompt: Prompt, index: int) -> Answer:
        sampling = request.sampling
        salt = sampling.salt(index)
        random = not judge.scenario.repeatable and sampling.temperature != 0
        if random and sampling.seed is None:
            salt += f" request {next(self._fresh)}"
        answer = judge.answer(prompt.messages, salt, turned=random)
        constraint = sampling.constraint
        return answer if constraint is None else _bound(answer, constraint, Draws(judge.seed, prompt.messages, salt))

    def _garbage(self, judge: Judge, request: CompletionRequest, prompt: Prompt, index: int) -> Answer:
        """What weights that are lost answer: nonsense, in good form where the request binds it to one."""
        salt, constraint = request.sampling.salt(index), request.sampling.constraint
        answer = judge.garbage(prompt.messages, salt, self._room(request, prompt), constraint is not None)
        if constraint is None:
            return answer
        return _bound(answer, constraint, Draws(judge.seed, prompt.messages, f"{salt} garbage"))

    async def _until_finished(self, receive: Receive, generation: Generation) -> None:
        async with self._dropped_with_client(receive, generation):
            while not generation.finished:
                await generation.news()

    async def _events(
        self, receive: Receive, generation: Generation, writer: Writer, exchange: Exchange
    ) -> AsyncGenerator[bytes, None]:
        async with self._dropped_with_client(receive, generation):
            await generation.news()
            opening = writer.opening(generation.choices)
            if not generation.failed:
                yield opening
            while True:
                finished = generation.finished
                said = writer.pieces(generation.choices)
                if finished:
                    break
                if said:
                    yield said
                await generation.news()
        _note(exchange, generation)
        if generation.failed:
            yield self._refusals.event(EngineDeadError()) + wire.DONE
            return
        end = self._refusals.event(GenerationError()) if generation.broken else writer.closing(generation.choices)
        yield said + end + wire.DONE

    @asynccontextmanager
    async def _dropped_with_client(self, receive: Receive, generation: Generation) -> AsyncIterator[None]:
        """While a generation is under way, watch for its client hanging up: then nobody waits for it any more."""
        if generation.finished:
            yield
            return
        watch = asyncio.create_task(self._drop_when_gone(receive, generation))
        try:
            yield
        finally:
            watch.cancel()
            # A handler that is cancelled (server going down) leaves nothing behind in the engine.
            self.engine.drop(generation)

    async def _drop_when_gone(self, receive: Receive, generation: Generation) -> None:
        await receive()  # the body has been read: all that can still come is the disconnect
        self.engine.drop(generation)


def _bound(answer: Answer, constraint: Constraint, draws: Draws) -> Answer:
    choice = draws.pick("choice", constraint.value) if constraint.kind == "choice" else ""
    return Answer(constraint.text(answer, choice), shape=answer.shape, verdict=answer.verdict, truth=answer.truth)


def _note(exchange: Exchange, generation: Generation) -> None:
    exchange.texts = [choice.text for choice in generation.choices]
    exchange.finish_reasons = [choice.finish_reason or "" for choice in generation.choices]
    if "dropped" not in exchange.finish_reasons:
        exchange.status = 200
