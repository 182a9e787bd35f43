"""What is done to a server after a case: it works again, and on a GPU it lives."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from mock_server import MockServer
from parity.products import VLLM
from parity.steps import Runner

PATIENCE = 30.0


@pytest.mark.parametrize("version", ["0.32.0", "0.28.0", "0.23.0", "0.16.0"])
@pytest.mark.parametrize(
    "did",
    [
        [],
        ["/sleep"],
        ["/sleep?level=0"],
        ["/pause"],
        ["/pause?mode=keep", "/sleep"],
        ["/sleep", "/wake_up?tags=weights"],
    ],
)
def test_whatever_was_done_it_answers_again(version: str, did: list[str]) -> None:
    with MockServer(profile=f"vllm-{version}", gpu_semantics=True) as mock:
        for path in did:
            httpx.post(mock.base_url + path)
        Runner(VLLM, mock.base_url, PATIENCE).clean_up(VLLM.flavours["dev"])
        assert ask(mock.base_url).status_code == 200


def test_who_waits_meanwhile_is_not_computed_on_memory_that_sleeps() -> None:
    with MockServer(profile="vllm-0.32.0", gpu_semantics=True) as mock, ThreadPoolExecutor() as others:
        httpx.post(f"{mock.base_url}/sleep")
        waiting = others.submit(ask, mock.base_url)
        while not mock.requests:
            time.sleep(0.01)
        Runner(VLLM, mock.base_url, PATIENCE).clean_up(VLLM.flavours["dev"])
        assert waiting.result().json()["choices"][0]["finish_reason"] == "stop"


def ask(url: str) -> httpx.Response:
    """A completion."""
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 200}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=PATIENCE)
