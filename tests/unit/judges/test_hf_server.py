"""The server around Hugging Face generate, with a model that is none: batches, limits, refusals, counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from judges.hf_server import Question, Writer, app

END = 0
CONTEXT = 50


class _Letters:
    """A tokenizer for which a letter is a token."""

    eos_token_id = END

    def apply_chat_template(self, messages: list[dict[str, Any]], **_: Any) -> str:
        return "".join(message["content"] for message in messages)

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, tokens: list[int], **_: Any) -> str:
        return "".join(chr(token) for token in tokens if token != END)


class _Echo(Writer):
    """Says what it was asked, and keeps its batches."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(config=SimpleNamespace(max_position_embeddings=CONTEXT)), _Letters(), "echo")
        self.batches: list[list[Question]] = []

    def _write(self, questions: list[Question], temperature: float) -> list[list[int]]:
        self.batches.append(questions)
        if any(self.tokenizer.decode(question.prompt) == "bad" for question in questions):
            raise RuntimeError("out of words")
        return [self._cut([*question.prompt, END, END], question.max_tokens) for question in questions]


@asynccontextmanager
async def served(writer: Writer, temperature: float | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server over that writer."""
    server = app(writer, temperature)
    transport = httpx.ASGITransport(server, raise_app_exceptions=False)
    async with (
        server.router.lifespan_context(server),
        httpx.AsyncClient(transport=transport, base_url="http://judge", timeout=30) as http,
    ):
        yield http


async def ask(http: httpx.AsyncClient, text: str, **fields: Any) -> httpx.Response:
    """A completion."""
    body = {"model": "echo", "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
    return await http.post("/v1/chat/completions", json=body)


async def test_a_reply_says_why_it_ended_and_what_it_took() -> None:
    async with served(_Echo()) as http:
        whole, cut = (await ask(http, "hello")).json(), (await ask(http, "hello", max_tokens=3)).json()

    assert (whole["choices"][0]["message"]["content"], whole["choices"][0]["finish_reason"]) == ("hello", "stop")
    assert whole["usage"] == {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
    assert (cut["choices"][0]["message"]["content"], cut["choices"][0]["finish_reason"]) == ("hel", "length")


async def test_requests_that_wait_together_are_one_batch_and_keep_their_answers() -> None:
    writer = _Echo()
    async with served(writer) as http:
        replies = await asyncio.gather(*(ask(http, letter) for letter in "abcdef"))

    assert [reply.json()["choices"][0]["message"]["content"] for reply in replies] == list("abcdef")
    assert len(writer.batches) < 6


async def test_temperatures_are_not_mixed() -> None:
    writer = _Echo()
    async with served(writer) as http:
        await asyncio.gather(ask(http, "a"), ask(http, "b", temperature=0.5))

    assert all(len({question.temperature for question in batch}) == 1 for batch in writer.batches)


async def test_its_own_temperature_goes_before_what_is_asked_for() -> None:
    writer = _Echo()
    async with served(writer, 1.0) as http:
        await asyncio.gather(ask(http, "a"), ask(http, "b", temperature=0.5))

    assert {question.temperature for batch in writer.batches for question in batch} == {1.0}


async def test_it_counts_what_it_was_asked() -> None:
    async with served(_Echo()) as http:
        await asyncio.gather(ask(http, "a"), ask(http, "b"))
        metrics = (await http.get("/metrics")).text
        models = (await http.get("/v1/models")).json()
        health = await http.get("/health")

    assert "judge:requests_total 2\n" in metrics
    assert models["data"][0]["id"] == "echo"
    assert health.status_code == 200


@pytest.mark.parametrize(("text", "fields"), [("x" * CONTEXT, {}), ("a", {"stream": True}), ("a", {"n": 2})])
async def test_what_it_does_not_do_is_refused(text: str, fields: dict[str, Any]) -> None:
    async with served(_Echo()) as http:
        assert (await ask(http, text, **fields)).status_code == 400


async def test_a_batch_that_fails_does_not_stop_the_next() -> None:
    async with served(_Echo()) as http:
        failed, answered = await ask(http, "bad"), await ask(http, "good")

    assert (failed.status_code, answered.status_code) == (500, 200)
