"""Samples for a judge that sleeps and wakes, in this process and in others; strangers at its server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from chaos.processes import Worker
from genrm.reward_function import compute_score
from mock_server import MockServer
from offload_support import eventually

Factory = Callable[..., MockServer]
T = TypeVar("T")
RIGHT = "2 + 2 = 4, so \\boxed{4}"
CHAT = "/v1/chat/completions"
CONTROL = ("/sleep", "/wake_up", "/pause", "/resume", "/collective_rpc")
# vLLM 0.10.0 answers strangers while it is being put to sleep, so that it is no place for the tests with strangers.
OLD_AND_NEW = ["vllm-0.32.0", "vllm-0.28.0", "vllm-0.23.0", "vllm-0.16.0"]
PATIENCE = 60.0
Make = Callable[..., dict[str, Any]]


def run(work: Awaitable[T]) -> T:
    """In an event loop that ends with it, so that its user of the judge leaves. Fails where it hangs."""

    async def in_time() -> T:
        return await asyncio.wait_for(work, PATIENCE)

    return asyncio.run(in_time())


async def score(settings: dict[str, Any], number: int = 0, split: str = "train", **more: Any) -> float:
    """The reward of a sample; those with even numbers are right."""
    answer = number + 2 + number % 2
    solution = more.get("solution", f"{number} + 2 = {answer}, so \\boxed{{{answer}}}")
    info = {"question": f"What is {number} + 2?", "split": split}
    return (await compute_score("mine", solution, str(number + 2), info, **settings))["score"]


async def score_many(settings: dict[str, Any], count: int) -> list[float]:
    return await asyncio.gather(*(score(settings, number) for number in range(count)))


def expected(count: int) -> list[float]:
    return [1.0 - number % 2 for number in range(count)]


def told(server: MockServer) -> list[str]:
    """What the server was told to do with its memory, in order."""
    return [exchange.path for exchange in server.journal if exchange.path in CONTROL]


def assert_manners(server: MockServer) -> None:
    """No request came while the judge slept, and none was in flight when it was told to sleep."""
    for exchange in server.journal:
        assert exchange.state
        if exchange.path == CHAT:
            assert (exchange.state.scheduling, exchange.state.asleep) == ("run", ()), exchange
        if exchange.path == "/sleep":
            assert (exchange.state.running, exchange.state.waiting) == (0, 0), exchange


async def post(server: MockServer | str, path: str, **body: Any) -> httpx.Response:
    """A stranger's call."""
    url = server if isinstance(server, str) else server.base_url
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        return await http.post(url + path, **body)


@asynccontextmanager
async def a_strangers_request(server: MockServer) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """Tokens that go on for as long as nobody ends them."""
    body = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 20_000, "ignore_eos": True}
    task = asyncio.create_task(post(server, CHAT, json=body))
    await eventually(lambda: server.engine.running)
    yield task
    task.cancel()


def sample(number: int) -> dict[str, Any]:
    answer = number + 2 + number % 2
    return {
        "id": str(number),
        "problem": f"What is {number} + 2?",
        "solution": f"{number} + 2 = {answer}, so \\boxed{{{answer}}}",
        "answer": str(number + 2),
    }


class Crew:
    """Workers in processes of their own, and what they made of their samples."""

    def __init__(self, settings: dict[str, Any], log: Path) -> None:
        self.verdicts: dict[int, Any] = {}
        self.when_done: Callable[[int], object] = lambda number: None
        self._environment = {f"GENRM_{name}": str(value) for name, value in settings.items()}
        self._log = log
        self.workers: list[Worker] = []

    async def hire(self) -> Worker:
        worker = Worker(self._environment, self._note, self._log)
        self.workers.append(worker)
        await worker.start()
        return worker

    def _note(self, outcome: dict[str, Any]) -> None:
        number = int(outcome["id"])
        self.verdicts[number] = outcome.get("error") or outcome["record"]["genrm_verdict"]
        self.when_done(number)

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for worker in self.workers:
            await worker.kill()

    async def dismiss(self) -> None:
        assert await asyncio.gather(*(worker.stop() for worker in self.workers)) == [0] * len(self.workers)

    async def all_judged(self, count: int) -> None:
        await eventually(lambda: len(self.verdicts) == count)
        assert self.verdicts == {number: 1 - number % 2 for number in range(count)}


CrewOf = Callable[[dict[str, Any]], Crew]


def script(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
