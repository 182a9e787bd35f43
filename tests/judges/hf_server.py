"""A judge served by Hugging Face generate: an OpenAI-shaped server for tests, of what genrm and the tools need.

    python -m judges.hf_server --model DIR --served-model-name genrm-demo --port 30000

Requests that wait together are answered as one batch. Greedy at temperature 0, else sampled; `--temperature` goes
before what is asked for. Answers `/v1/chat/completions` (no streaming, one choice), `/v1/models`, `/health`, and
`/metrics` with how many it was asked.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

LARGEST_BATCH = 128
GATHER_SECONDS = 0.02
"""How long a batch waits for more to come."""
DEFAULT_TOKENS = 256


@dataclass(slots=True)
class Question:
    """A request that waits for its answer."""

    prompt: list[int]
    max_tokens: int
    temperature: float
    answer: asyncio.Future[list[int]]


class Writer:
    """The model: takes what waits and answers it in batches."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.context: int = model.config.max_position_embeddings
        self.requests = 0
        self._model = model
        self._waiting: asyncio.Queue[Question] = asyncio.Queue()

    @classmethod
    def load(cls, folder: Path, name: str) -> Writer:
        """The model in a folder."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)  # the training run beside it needs the cores, too
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        return cls(model, AutoTokenizer.from_pretrained(folder), name)

    @property
    def end(self) -> int:
        """The token that ends a reply."""
        token: int = self.tokenizer.eos_token_id
        return token

    def prompt(self, messages: list[dict[str, Any]]) -> list[int]:
        """The messages in tokens. Raises whatever the chat template makes of bad ones."""
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    async def ask(self, prompt: list[int], max_tokens: int, temperature: float) -> list[int]:
        """The reply's tokens, with the one that ends it."""
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        await self._waiting.put(Question(prompt, max_tokens, temperature, answer))
        return await answer

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            batch = [await self._waiting.get()]
            await asyncio.sleep(GATHER_SECONDS)
            while not self._waiting.empty() and len(batch) < LARGEST_BATCH:
                batch.append(self._waiting.get_nowait())
            for temperature in {question.temperature for question in batch}:
                alike = [question for question in batch if question.temperature == temperature]
                await self._answer(alike, temperature)

    async def _answer(self, questions: list[Question], temperature: float) -> None:
        try:
            replies: Sequence[list[int] | Exception] = await asyncio.to_thread(self._write, questions, temperature)
        except Exception as error:  # whatever the model makes of them: each gets a 500, and the next batch is answered
            replies = [error] * len(questions)
        for question, reply in zip(questions, replies, strict=True):
            if question.answer.done():  # its client has gone
                continue
            if isinstance(reply, Exception):
                question.answer.set_exception(reply)
            else:
                question.answer.set_result(reply)

    def _write(self, questions: list[Question], temperature: float) -> list[list[int]]:
        import torch

        read = self.tokenizer.pad(
            {"input_ids": [question.prompt for question in questions]}, return_tensors="pt", padding_side="left"
        )
        how = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        longest = max(question.max_tokens for question in questions)
        with torch.no_grad():
            written = self._model.generate(
                input_ids=read["input_ids"], attention_mask=read["attention_mask"], max_new_tokens=longest, **how
            )
        rows = written[:, read["input_ids"].shape[1] :].tolist()
        return [self._cut(row, question.max_tokens) for row, question in zip(rows, questions, strict=True)]

    def _cut(self, reply: list[int], max_tokens: int) -> list[int]:
        """Up to its end token, or to what was asked for."""
        reply = reply[:max_tokens]
        return reply[: reply.index(self.end) + 1] if self.end in reply else reply


def app(writer: Writer, temperature: float | None = None) -> Starlette:
    """The server over a writer. `temperature`: of all replies, whatever is asked for."""

    async def complete(request: Request) -> Response:
        body = await request.json()
        prompt = writer.prompt(body["messages"])
        wanted = int(body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_TOKENS)
        room = writer.context - len(prompt)
        if room < 1:
            return _refusal(f"the prompt has {len(prompt)} tokens, and {writer.context} is the longest")
        if body.get("stream") or body.get("n", 1) != 1:
            return _refusal("neither streams nor several choices are served here")
        writer.requests += 1
        asked_for = float(body.get("temperature", 1.0))
        reply = await writer.ask(prompt, min(wanted, room), asked_for if temperature is None else temperature)
        return JSONResponse(_completion(writer, prompt, reply, writer.requests))

    async def models(_request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": writer.name, "object": "model", "owned_by": "tests"}]})

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(f"# TYPE judge:requests counter\njudge:requests_total {writer.requests}\n")

    async def health(_request: Request) -> Response:
        return Response()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(writer.run())
        yield
        running.cancel()

    routes = [
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
        Route("/metrics", metrics),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _completion(writer: Writer, prompt: list[int], reply: list[int], number: int) -> dict[str, Any]:
    ended = bool(reply) and reply[-1] == writer.end
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "model": writer.name,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": writer.tokenizer.decode(reply, skip_special_tokens=True),
                },
                "finish_reason": "stop" if ended else "length",
            }
        ],
        "usage": {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(reply),
            "total_tokens": len(prompt) + len(reply),
        },
    }


def _refusal(message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "BadRequestError", "code": 400}}, 400)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m judges.hf_server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--served-model-name", default="genrm-demo")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--temperature", type=float)
    given = parser.parse_args()
    served = app(Writer.load(given.model, given.served_model_name), given.temperature)
    uvicorn.run(served, host=given.host, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
