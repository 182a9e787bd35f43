"""How these tests talk to a mock server: by plain HTTP, from other threads where a request hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from mock_server import MockServer

ROOT = Path(__file__).parents[3]


def judge_prompt(solution: str = "2 + 2 = 4", problem: str = "What is 2+2?") -> str:
    return f"[Math Problem]\n\n{problem}\n\n[AI Solution]\n\n{solution}\n\nYour task is to review the solution."


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Until `condition` holds; fails the test if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.005)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that hang. They must have ended by the end of the test."""
    with ThreadPoolExecutor(32) as executor:
        yield executor


@pytest.fixture
def http(mock_server: MockServer) -> Iterator[httpx.Client]:
    """A client of the fixture `mock_server`."""
    with httpx.Client(base_url=mock_server.base_url, timeout=60) as client:
        yield client


@pytest.fixture
def slow_server(mock_server_factory: Callable[..., MockServer]) -> MockServer:
    """A server that says 200 tokens a second: slow enough to be caught in the act."""
    return mock_server_factory(tokens_per_second=200)


@pytest.fixture
def slow(slow_server: MockServer) -> Iterator[httpx.Client]:
    """A client of the fixture `slow_server`."""
    with httpx.Client(base_url=slow_server.base_url, timeout=60) as client:
        yield client


@pytest.fixture
def ask() -> Callable[..., dict[str, object]]:
    """The body of a chat request."""

    def body(content: str | None = None, **fields: object) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": judge_prompt() if content is None else content}], **fields}

    return body


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition."""
    return wait_for


@pytest.fixture
def refuses() -> Callable[[MockServer], bool]:
    """Whether connections to a server are refused, as after its engine has died."""

    def refuses(server: MockServer) -> bool:
        try:
            httpx.get(server.base_url + "/health", timeout=60)
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            pass  # hung up on: it is just going down
        return False

    return refuses


@pytest.fixture
def prompt_of() -> Callable[..., str]:
    """A judge's prompt about a solution."""
    return judge_prompt


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `python -m mock_server`; whatever still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mock_server", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**{k: v for k, v in os.environ.items() if k != "VLLM_SERVER_DEV_MODE"}, "COLUMNS": "200", **env},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
