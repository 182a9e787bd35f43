"""A request for a completion on its way through any kind of server: read, submitted, waited for, written."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from mock_server.engine.machine import Engine, Generation, Plan
from mock_server.engine.prefix_cache import BLOCK_TOKENS, block_keys
from mock_server.errors import ApiError, UnreadableBody
from mock_server.journal import Exchange
from mock_server.judge.answers import Answer, Judge
from mock_server.judge.draws import Draws
from mock_server.replies import wire
from mock_server.replies.refusals import ErrorShape
from mock_server.replies.writer import Writer
from mock_server.requests.lengths import Limits
from mock_server.requests.reading import CompletionRequest, Prompt
from mock_server.requests.sampling import plan
from mock_server.requests.structured import Constraint

Reader = Callable[[Any, Limits], CompletionRequest]

_REFUSED = Plan(b"", 0, "error")
"""What is said to a request that the engine refuses."""


class Completions(ABC):
    """The completions of one server. Its subclasses say what its kind makes of names, bodies and failures."""

    errors: ErrorShape
    """How an error is worded that comes in a stream."""
    block_tokens: ClassVar[int] = BLOCK_TOKENS
    """Tokens of a block of the prefix cache."""
    headers_wait: ClassVar[bool]
    """Whether the headers of a stream wait until something has been said; otherwise they go out at once."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits
        self._fresh = count()

    @abstractmethod
    async def read_body(self, http: Request) -> Any:
        """The JSON in a request's body. Raises ApiError or UnreadableBody."""

    @abstractmethod
    def request_id(self, http: Request, request: CompletionRequest, kind: type[Writer]) -> str:
        """What the server calls a request."""

    @abstractmethod
    def writer(self, kind: type[Writer], request_id: str, request: CompletionRequest) -> Writer:
        """Who writes its answer."""

    @abstractmethod
    def room(self, prompt: Prompt) -> int:
        """The most tokens that can be said after a prompt."""

    @abstractmethod
    async def error_of(self, request: CompletionRequest, generation: Generation, receive: Receive) -> ApiError:
        """What a request gets to read whose engine has died (`failed`), or that the engine could not go on with."""

    def refusal(self, request: CompletionRequest) -> ApiError | None:  # noqa: ARG002
        """Why a request is refused by the engine, as soon as that looks at it; None: it is not."""
        return None

    async def answer(self, http: Request, read: Reader, kind: type[Writer]) -> Response:
        """The answer to one request, noted in its exchange as it comes about."""
        exchange: Exchange = http.scope["mock.exchange"]  # opened by the Stage, which every request passes
        try:
            body = await self.read_body(http)
            exchange.body = body if isinstance(body, dict) else None
            request = read(body, self.limits)
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
        request_id = self.request_id(http, request, kind)
        exchange.request_id = request_id
        exchange.messages = [message for prompt in request.prompts for message in prompt.messages]
        judge: Judge = http.scope["mock.judge"]
        if self.refusal(request):
            plans, garbled = [_REFUSED], None
        else:
            plans = self._plans(request, kind, exchange, partial(self._answer, judge, request))
            garbled = partial(self._plans, request, kind, exchange, partial(self._garbage, judge, request))
            self._count(request, plans)
        generation = Generation(request_id, plans, garbled)
        self.engine.stats.n.observe(request.sampling.n)
        self.engine.submit(generation)
        writer = self.writer(kind, request_id, request)
        if request.stream:
            return await self._streamed(http.receive, generation, writer, exchange)
        async with self._dropped_with_client(http.receive, generation):
            while not generation.finished:
                await generation.news()
        _note(exchange, generation)
        if generation.broken:
            error = await self.error_of(request, generation, http.receive)
            exchange.status = error.status
            raise error
        return wire.body(writer.whole(generation.choices))

    def _plans(
        self, request: CompletionRequest, kind: type[Writer], exchange: Exchange, answer_of: Callable[..., Answer]
    ) -> list[Plan]:
        """What each choice is going to say: `answer_of` (prompt, number of the choice), within the request's limits."""
        plans: list[Plan] = []
        exchange.answers = []
        for number, prompt in enumerate(request.prompts):
            engine_id = f"{exchange.request_id}-{number}" if kind.prompts_apart else ""
            blocks = block_keys(prompt.text.encode(errors="replace"), self.block_tokens)
            for index in range(request.sampling.n):
                answer = answer_of(prompt, index)
                exchange.answers.append(answer)
                said = plan(answer, request.sampling, self._limit(request, prompt))
                said.engine_id = engine_id
                said.prompt_tokens, said.prompt_blocks = prompt.tokens, blocks
                plans.append(said)
        return plans

    def _limit(self, request: CompletionRequest, prompt: Prompt) -> int:
        """The most tokens that a choice may have."""
        room, most = self.room(prompt), request.sampling.max_tokens
        return room if most is None else min(room, most)

    def _count(self, request: CompletionRequest, plans: Sequence[Plan]) -> None:
        stats = self.engine.stats
        for number, said in enumerate(plans):
            stats.max_tokens.observe(self._limit(request, request.prompts[number // request.sampling.n]))
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
        answer = judge.garbage(prompt.messages, salt, self._limit(request, prompt), constraint is not None)
        if constraint is None:
            return answer
        return _bound(answer, constraint, Draws(judge.seed, prompt.messages, f"{salt} garbage"))

    async def _streamed(self, receive: Receive, generation: Generation, writer: Writer, exchange: Exchange) -> Response:
        if self.headers_wait:
            async with self._dropped_with_client(receive, generation):
                await generation.begun()
            if generation.broken:
                error = await self.error_of(writer.request, generation, receive)
                if not error.in_stream:
                    exchange.status = error.status
                    raise error
        exchange.status = 200
        return wire.EventStream(self._events(receive, generation, writer, exchange))

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
        end = writer.closing(generation.choices)
        if generation.broken:
            error = await self.error_of(writer.request, generation, receive)
            end = wire.event(self.errors.event(error))
        yield (b"" if generation.failed else said) + end + wire.DONE

    @asynccontextmanager
    async def _dropped_with_client(self, receive: Receive, generation: Generation) -> AsyncIterator[None]:
        """While a generation is under way, watch for its client hanging up: then nobody waits for it any more."""
        if generation.finished:
            yield
            return
        watch = asyncio.create_task(self._drop_when_gone(receive, generation))
        try:
            yield
        except BaseException:
            # A handler that is cancelled (server going down) leaves nothing behind in the engine.
            self.engine.drop(generation)
            raise
        finally:
            watch.cancel()

    async def _drop_when_gone(self, receive: Receive, generation: Generation) -> None:
        await receive()  # the body has been read: all that can still come is the disconnect
        self.engine.drop(generation)


def _bound(answer: Answer, constraint: Constraint, draws: Draws) -> Answer:
    choice = draws.pick("choice", constraint.value) if constraint.kind == "choice" else ""
    return Answer(constraint.text(answer, choice), shape=answer.shape, verdict=answer.verdict, truth=answer.truth)


def _note(exchange: Exchange, generation: Generation) -> None:
    exchange.texts = [choice.text for choice in generation.choices]
    exchange.finish_reasons = [choice.finish_reason or "" for choice in generation.choices]
    if not {"dropped", "error"}.intersection(exchange.finish_reasons):
        exchange.status = 200
