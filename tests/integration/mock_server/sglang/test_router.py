"""The real SGLang router in front of mocks: what the clients of a fleet see, and what becomes of its workers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from mock_server import MockServer
from sglang_router_process import INSTALLED, MISSING, PATIENCE, running

pytestmark = pytest.mark.skipif(not INSTALLED, reason=MISSING)

PROFILE = "sglang-0.5.23"
CHAT = "/v1/chat/completions"
HI = {"messages": [{"role": "user", "content": "hi"}]}
Until = Callable[..., None]


class Fleet:
    """Two mocks and the router in front of them, which takes turns."""

    def __init__(self, router: str, workers: list[MockServer]) -> None:
        self.client = httpx.Client(base_url=router, timeout=PATIENCE)
        self.workers = workers

    def chat(self, **fields: Any) -> httpx.Response:
        return self.client.post(CHAT, json={**HI, **fields})

    @property
    def asked(self) -> list[int]:
        """How many completions each worker was asked for."""
        return [len(worker.requests) for worker in self.workers]

    def on_each(self, path: str) -> None:
        """Call each worker by its own address, as the router gives it."""
        for worker in self.client.get("/workers").json()["workers"]:
            httpx.post(worker["url"] + path, json={}, timeout=PATIENCE).raise_for_status()


MakeFleet = Callable[..., Fleet]


@pytest.fixture
def fleet_of() -> Iterator[MakeFleet]:
    """Make a fleet: flags of the router, settings of the workers."""
    with ExitStack() as stack:

        def make(*flags: str, **settings: Any) -> Fleet:
            config = {"profile": PROFILE, "health_seconds": 0.01, **settings}
            workers = [stack.enter_context(MockServer(**config)) for _ in range(2)]
            urls = [worker.base_url for worker in workers]
            router = stack.enter_context(running(urls, "--policy", "round_robin", *flags))
            fleet = Fleet(router, workers)
            stack.enter_context(fleet.client)
            return fleet

        yield make


@pytest.fixture
def fleet(fleet_of: MakeFleet) -> Fleet:
    return fleet_of()


def test_it_takes_turns(fleet: Fleet, prompt_of: Callable[..., str]) -> None:
    """Exactly; and the answers are those of any worker, so they do not tell which one it was."""
    messages = [{"role": "user", "content": prompt_of()}]
    texts = set()
    for _ in range(12):
        answer = fleet.chat(messages=messages, model="genrm-demo")
        assert answer.status_code == 200
        texts.add(answer.json()["choices"][0]["message"]["content"])
    assert fleet.asked == [6, 6]
    assert len(texts) == 1
    assert "True" in texts.pop().splitlines()[-1]


def test_a_stream(fleet: Fleet) -> None:
    with fleet.client.stream("POST", CHAT, json={**HI, "stream": True}) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert '"finish_reason":"stop"' in lines[-2]


def test_what_it_makes_of_a_request(fleet: Fleet) -> None:
    """It parses and writes anew: a client's own fields are lost, and a limit changes its name."""
    fleet.chat(max_tokens=5, rid="mine", user="me", priority=1, seed=3)
    (asked,) = [request.body or {} for worker in fleet.workers for request in worker.requests]
    assert asked["model"] == "unknown"
    assert asked["max_completion_tokens"] == 5
    assert asked["seed"] == 3
    assert not {"max_tokens", "rid", "user", "priority"} & set(asked)


def test_the_workers_are_told_by_themselves(fleet: Fleet) -> None:
    """Only flushing goes through the router; everything else about memory and pauses is called on each worker."""
    flushed = fleet.client.post("/flush_cache")
    assert flushed.status_code == 200
    assert flushed.json()["workers_flushed"] == 2
    for path in (
        "/release_memory_occupation",
        "/resume_memory_occupation",
        "/pause_generation",
        "/continue_generation",
    ):
        answer = fleet.client.post(path, json={})
        assert (answer.status_code, answer.content) == (404, b"")
    for path in ("/pause_generation", "/release_memory_occupation"):
        fleet.on_each(path)
    assert [worker.engine.asleep for worker in fleet.workers] == [{"kv_cache", "weights", "cuda_graph"}] * 2
    for path in ("/resume_memory_occupation", "/continue_generation"):
        fleet.on_each(path)
    assert fleet.chat().status_code == 200
    assert not any(worker.engine.is_sleeping for worker in fleet.workers)


@pytest.mark.parametrize("status", [500, 429])
def test_five_attempts_then_the_last_answer(fleet: Fleet, status: int) -> None:
    fault = {"fault": {"status": {"code": status, "message": "Not now."}}}
    with fleet.workers[0].faults(fault), fleet.workers[1].faults(fault):
        answer = fleet.chat()
        assert (answer.status_code, answer.json()["message"]) == (status, "Not now.")
        assert sum(fleet.asked) == 5
    assert fleet.chat().status_code == 200


def test_one_worker_fails(fleet: Fleet) -> None:
    """Whatever one worker does, the clients are answered by the other."""
    for fault in ({"status": 500}, "reset", "close"):
        with fleet.workers[0].faults({"fault": fault}):
            assert [fleet.chat().status_code for _ in range(3)] == [200] * 3
    assert sum(bool(request.faults) for request in fleet.workers[0].requests) >= 3


def test_nobody_is_left(start: Callable[..., subprocess.Popen[str]]) -> None:
    """One worker killed: all is answered by the other. Both killed: 503."""
    processes = [start("--profile", PROFILE, "--port", "0") for _ in range(2)]
    urls = []
    for process in processes:
        assert process.stdout
        urls.append(process.stdout.readline().split()[1])
    with running(urls, "--policy", "round_robin") as router, httpx.Client(base_url=router, timeout=PATIENCE) as client:
        assert [client.post(CHAT, json=HI).status_code for _ in range(4)] == [200] * 4
        processes[0].kill()
        processes[0].wait()
        assert [client.post(CHAT, json=HI).status_code for _ in range(6)] == [200] * 6
        processes[1].kill()
        processes[1].wait()
        # Its breaker takes some failures to open; until then it is what the connections say.
        statuses: list[int] = []
        while not statuses or statuses[-1] != 503:
            answer = client.post(CHAT, json=HI)
            statuses.append(answer.status_code)
            assert len(statuses) < 50
        assert set(statuses) <= {500, 503}
        assert answer.json()["error"]["code"] == "no_available_workers"
        assert client.get("/health").status_code == 200


def test_a_death_in_the_fleet(fleet: Fleet, until: Until) -> None:
    """A worker that does not survive a call of the trainer's is gone, and the others go on."""
    dying = fleet.workers[0]
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{dying.base_url}/resume_memory_occupation", json={}, timeout=PATIENCE)
    until(lambda: dying.engine.dead)
    assert [fleet.chat().status_code for _ in range(4)] == [200] * 4


def test_bad_requests_open_the_breaker(fleet_of: MakeFleet) -> None:
    """Ten prompts too long for a worker in a row, and it gets no more requests, good ones neither."""
    fleet = fleet_of(max_model_len=100)
    too_long = [{"role": "user", "content": "x" * 200}]
    answers = [fleet.chat(messages=too_long) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {400}
    assert "is longer than the model's context length" in answers[0].json()["message"]
    assert fleet.asked == [10, 10]
    refused = fleet.chat()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_available_workers")
    assert refused.headers["x-smg-error-code"] == "no_available_workers"
    assert fleet.asked == [10, 10]
    assert [worker["is_healthy"] for worker in fleet.client.get("/workers").json()["workers"]] == [True, True]


def test_one_good_request_keeps_the_breaker_closed(fleet_of: MakeFleet) -> None:
    """It counts failures in a row."""
    fleet = fleet_of(max_model_len=100)
    too_long = [{"role": "user", "content": "x" * 200}]
    for _ in range(3):
        assert [fleet.chat(messages=too_long).status_code for _ in range(8)] == [400] * 8
        assert [fleet.chat().status_code for _ in range(2)] == [200] * 2


def test_a_full_queue(fleet_of: MakeFleet, pool: ThreadPoolExecutor, until: Until) -> None:
    """408 with nothing in it, neither 429 nor 503, for those that find no place and those that wait too long."""
    fleet = fleet_of("--max-concurrent-requests", "2", "--queue-size", "3", "--queue-timeout-secs", "1")
    fleet.on_each("/pause_generation")
    asked = [pool.submit(fleet.chat) for _ in range(32)]

    def held() -> int:
        return sum(worker.engine.waiting for worker in fleet.workers)

    # How many come through depends on how fast they come: it lets two more through each second.
    until(lambda: held() >= 2 and held() + sum(each.done() for each in asked) == 32, PATIENCE)
    fleet.on_each("/continue_generation")
    answers = [(answer.status_code, not answer.content) for answer in (each.result() for each in asked)]
    assert set(answers) == {(200, False), (408, True)}
