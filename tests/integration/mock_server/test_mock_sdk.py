"""The official openai SDK against the mock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from mock_server import MockServer

PromptOf = Callable[..., str]


def messages(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_sync(mock_server: MockServer, prompt_of: PromptOf) -> None:
    with openai.OpenAI(base_url=mock_server.base_url + "/v1", api_key="-", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["genrm-demo"]
        chat = client.chat.completions.create(model="genrm-demo", messages=messages(prompt_of()), temperature=0)
        text = chat.choices[0].message.content
        assert text
        assert "True" in text.splitlines()[-1]
        stream = client.chat.completions.create(model="genrm-demo", messages=messages(prompt_of()), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text
        completion = client.completions.create(model="genrm-demo", prompt=prompt_of(), max_tokens=2000)
        assert completion.choices[0].text == text
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(model="nope", messages=messages("x"))
        with pytest.raises(openai.BadRequestError, match="max_tokens must be at least 1"):
            client.chat.completions.create(model="genrm-demo", messages=messages("x"), max_tokens=0)


def test_wrong_key(mock_server_factory: Callable[..., MockServer]) -> None:
    server = mock_server_factory(api_key="secret")
    with openai.OpenAI(base_url=server.base_url + "/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
        client.api_key = "secret"
        assert client.models.list().data


async def test_async_and_concurrent(mock_server: MockServer, prompt_of: PromptOf) -> None:
    """The same answers one by one, all at once, and in the other order."""
    prompts = [prompt_of(f"{n} + 1 = {n + 1 + n % 2}") for n in range(24)]
    async with openai.AsyncOpenAI(base_url=mock_server.base_url + "/v1", api_key="-", max_retries=0) as client:

        async def answer(prompt: str) -> str:
            chat = await client.chat.completions.create(model="genrm-demo", messages=messages(prompt))
            return chat.choices[0].message.content or ""

        one_by_one = [await answer(prompt) for prompt in prompts]
        at_once = await asyncio.gather(*map(answer, prompts))
        backwards = await asyncio.gather(*map(answer, reversed(prompts)))
    assert one_by_one == at_once == backwards[::-1]
    assert [("True" in text.splitlines()[-1]) for text in at_once] == [n % 2 == 0 for n in range(24)]


def test_sglang(mock_server_factory: Callable[..., MockServer], prompt_of: PromptOf) -> None:
    server = mock_server_factory(profile="sglang-0.5.23", max_model_len=2048)
    with openai.OpenAI(base_url=server.base_url + "/v1", api_key="-", max_retries=0) as client:
        assert [model.owned_by for model in client.models.list()] == ["sglang"]
        chat = client.chat.completions.create(model="any", messages=messages(prompt_of()), temperature=0)
        text = chat.choices[0].message.content
        assert text
        assert "True" in text.splitlines()[-1]
        assert chat.usage
        assert chat.usage.completion_tokens == len(text) + 1
        stream = client.chat.completions.create(model="any", messages=messages(prompt_of()), stream=True)
        chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
        assert chunks[-1].choices[0].finish_reason == "stop"
        completion = client.completions.create(model="any", prompt=prompt_of(), max_tokens=900)
        assert completion.choices[0].text == text
        with pytest.raises(openai.BadRequestError, match="longer than the model's context length"):
            client.chat.completions.create(model="any", messages=messages("x" * 3000))
