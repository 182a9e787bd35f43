"""--gpu-semantics over HTTP: what a server on a CPU cannot show (contract section 6)."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mock_server import MockServer

Factory = Callable[..., MockServer]
Ask = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], object]], None]
Refuses = Callable[[MockServer], bool]
CHAT = "/v1/chat/completions"
LONG = {"max_tokens": 20_000, "ignore_eos": True}


@pytest.fixture
def server(mock_server_factory: Factory) -> MockServer:
    """vLLM 0.32.0 on a GPU of 80 GiB."""
    return mock_server_factory(gpu_semantics=True)


@pytest.fixture
def http(server: MockServer) -> Iterator[httpx.Client]:
    """A client of `server`."""
    with httpx.Client(base_url=server.base_url, timeout=60) as client:
        yield client


def said(answer: httpx.Response) -> tuple[str, str]:
    choice = answer.json()["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


class TestDeath:
    def test_resuming_a_sleeping_engine(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, refuses: Refuses, ask: Ask
    ) -> None:
        http.post("/sleep")
        hanging = pool.submit(httpx.post, server.base_url + CHAT, json=ask(), timeout=60)
        until(lambda: server.engine.waiting)
        assert http.post("/resume").status_code == 200
        assert hanging.result().status_code == 500
        until(lambda: refuses(server))

    def test_the_race_of_a_wake_up_with_a_draining_sleep(
        self, mock_server_factory: Factory, pool: ThreadPoolExecutor, until: Until, refuses: Refuses, ask: Ask
    ) -> None:
        server = mock_server_factory(gpu_semantics=True, tokens_per_second=200)
        url = server.base_url
        with httpx.Client(base_url=url, timeout=60) as http:
            running = pool.submit(httpx.post, url + CHAT, json=ask(max_tokens=60), timeout=60)
            until(lambda: server.engine.running)
            sleeping = pool.submit(httpx.post, url + "/sleep?mode=wait", timeout=60)
            until(lambda: server.engine.is_paused)
            assert http.post("/wake_up").json()["status"] == "awake"
            assert running.result().status_code == sleeping.result().status_code == 200
            assert http.get("/is_sleeping").json() == {"is_sleeping": True}
            assert http.get("/is_paused").json() == {"is_paused": False}
            assert http.post(CHAT, json=ask()).status_code == 500
        until(lambda: refuses(server))

    def test_a_cpu_server_serves_all_the_same(self, mock_server_factory: Factory, ask: Ask) -> None:
        server = mock_server_factory()
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep?level=2")
            http.post("/resume")
            assert http.get("/is_sleeping").json() == {"is_sleeping": True}
            assert said(http.post(CHAT, json=ask()))[1] == "stop"
            assert http.get("/_mock/state").json()["gpu"] is None
            assert http.get("/_mock/gpu").status_code == 404

    def test_loading_weights_that_are_not_mapped(
        self, server: MockServer, http: httpx.Client, until: Until, refuses: Refuses
    ) -> None:
        http.post("/sleep?level=2")
        assert http.post("/collective_rpc", json={"method": "reload_weights"}).status_code == 500
        until(lambda: refuses(server))


class TestGarbage:
    def test_until_the_weights_are_loaded(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        good = said(http.post(CHAT, json=ask()))
        http.post("/sleep?level=2")
        http.post("/wake_up")
        assert said(http.post(CHAT, json=ask(max_tokens=12))) == ("!" * 12, "length")
        lines = http.post(CHAT, json=ask(max_tokens=4, stream=True)).text.splitlines()
        pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == "!!!!"
        assert [exchange.answers[0].shape for exchange in server.requests] == ["verdict", "garbage", "garbage"]
        assert http.get("/_mock/gpu").json()["weights_lost"] is True
        assert http.post("/collective_rpc", json={"method": "reload_weights"}).json() == {"results": [None]}
        assert said(http.post(CHAT, json=ask())) == good

    def test_level_1_keeps_them(self, http: httpx.Client, ask: Ask) -> None:
        good = said(http.post(CHAT, json=ask()))
        http.post("/sleep?level=1")
        http.post("/wake_up")
        assert said(http.post(CHAT, json=ask())) == good

    def test_whoever_waited_gets_it_too(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        http.post("/sleep?level=2")
        waiting = pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=3), timeout=60)
        until(lambda: server.engine.waiting)
        http.post("/wake_up")
        assert said(waiting.result()) == ("!!!", "length")

    def test_not_who_waited_for_the_load(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        http.post("/sleep?level=2")
        waiting = pool.submit(httpx.post, server.base_url + CHAT, json=ask(), timeout=60)
        until(lambda: server.engine.waiting)
        http.post("/wake_up?tags=weights")
        http.post("/collective_rpc", json={"method": "reload_weights"})
        http.post("/wake_up?tags=kv_cache")
        text, finish = said(waiting.result())
        assert ("boxed" in text, finish) == (True, "stop")

    def test_what_is_kept_goes_on_in_garbage(
        self, mock_server_factory: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        server = mock_server_factory(gpu_semantics=True, tokens_per_second=200)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            whole = said(http.post(CHAT, json=ask(max_tokens=60)))[0]
            kept = pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=60), timeout=60)
            until(lambda: server.engine.running)
            http.post("/sleep?level=2&mode=keep")
            http.post("/wake_up")
            text = said(kept.result())[0]
        before = text.rstrip("!")
        assert whole.startswith(before)
        assert len(before) < len(text) == 60

    def test_bound_to_a_form_it_is_a_verdict_by_chance(
        self, http: httpx.Client, ask: Ask, prompt_of: Callable[..., str]
    ) -> None:
        bodies = [
            ask(prompt_of(f"{n} + 1 = {n + 1}"), structured_outputs={"choice": ["True", "False"]}) for n in range(20)
        ]
        good = [said(http.post(CHAT, json=body)) for body in bodies]
        http.post("/sleep?level=2")
        http.post("/wake_up")
        lost = [said(http.post(CHAT, json=body)) for body in bodies]
        assert lost == [said(http.post(CHAT, json=body)) for body in bodies]
        assert set(good) == {("True", "stop")}
        assert set(lost) == {("True", "stop"), ("False", "stop")}

    def test_the_words_are_the_scenarios(self, mock_server_factory: Factory, ask: Ask) -> None:
        scenario = {"garbage": {"text": "so it is", "finish_reason": "stop"}}
        server = mock_server_factory(gpu_semantics=True, scenario=scenario)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep?level=2")
            http.post("/wake_up")
            assert said(http.post(CHAT, json=ask())) == ("so it is", "stop")


class TestMemory:
    def test_a_trainer_fits_beside_a_sleeping_server_only(self, http: httpx.Client) -> None:
        refused = http.put("/_mock/gpu", json={"claims": {"trainer": 60}})
        assert (refused.status_code, refused.json()["error"]["type"]) == (409, "OutOfMemoryError")
        assert "Tried to allocate 60.00 GiB" in refused.json()["error"]["message"]
        http.post("/sleep")
        assert http.put("/_mock/gpu", json={"claims": {"trainer": 60}}).json()["free"] == 18.8
        assert http.post("/wake_up?tags=weights").json()["status"] == "sleeping"
        full = http.post("/wake_up?tags=kv_cache")
        message = "Call to wake_up method failed: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:163"
        assert (full.status_code, full.json()["error"]["message"]) == (500, message)
        assert http.get("/is_sleeping").json() == {"is_sleeping": True}
        gpu = http.get("/_mock/state").json()["gpu"]
        assert (gpu["weights"], gpu["kv_cache"], gpu["free"]) == (15, 0, 3.8)
        http.put("/_mock/gpu", json={"claims": {}})
        assert http.post("/wake_up?tags=kv_cache").json()["status"] == "awake"

    @pytest.mark.parametrize("body", ["{", "[]", '{"claims": {"trainer": -1}}', '{"claims": {}, "more": 1}'])
    def test_wrong_claims(self, http: httpx.Client, body: str) -> None:
        assert http.put("/_mock/gpu", content=body).status_code == 400

    def test_the_kv_cache_alone(self, http: httpx.Client) -> None:
        assert http.post("/release_kv_cache_memory").status_code == 500
        http.post("/pause")
        assert http.post("/release_kv_cache_memory").json() == {"status": "kv_cache_released"}
        gpu = http.get("/_mock/gpu").json()
        assert (gpu["weights"], gpu["kv_cache"]) == (15, 0)
        assert "resident" in http.post("/release_kv_cache_memory").json()["error"]["message"]
        assert http.post("/wake_up").json()["status"] == "awake"

    def test_a_reset_frees_and_heals(self, http: httpx.Client, ask: Ask) -> None:
        http.post("/sleep?level=2")
        http.put("/_mock/gpu", json={"claims": {"trainer": 60}})
        http.post("/_mock/reset")
        gpu = http.get("/_mock/gpu").json()
        assert (gpu["used"], gpu["claims"], gpu["weights_lost"]) == (72, {}, False)
        assert said(http.post(CHAT, json=ask()))[1] == "stop"

    def test_a_dead_server_holds_nothing_and_stays_dead_where_there_is_no_room(
        self, mock_server_factory: Factory, until: Until, refuses: Refuses
    ) -> None:
        server = mock_server_factory(gpu_semantics=True)
        gpu = server.engine.memory.gpu
        assert gpu is not None
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep")
            http.put("/_mock/gpu", json={"claims": {"trainer": 70}})
            http.post("/_mock/kill?restart_after_s=0")
        until(lambda: refuses(server))
        assert (server.engine.dead, gpu.used) == (True, 0)
        server.stop()
        gc.collect()  # a socket left open is a warning, and so an error

    def test_old_profiles_say_less(self, mock_server_factory: Factory) -> None:
        server = mock_server_factory(profile="vllm-0.16.0", gpu_semantics=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep")
            http.put("/_mock/gpu", json={"claims": {"trainer": 60}})
            full = http.post("/wake_up")
            assert (full.status_code, full.text) == (500, "Internal Server Error")


class TestPlannedDeath:
    def test_a_sleep_with_requests_in_flight_dies_behind_its_answer(
        self, mock_server_factory: Factory, pool: ThreadPoolExecutor, until: Until, refuses: Refuses, ask: Ask
    ) -> None:
        fault = {"match": {"path": "/sleep", "running": True}, "fault": {"engine_death": {"behind": True}}}
        server = mock_server_factory(gpu_semantics=True, tokens_per_second=200, scenario={"faults": [fault]})
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            assert http.post("/sleep").status_code == http.post("/wake_up").status_code == 200
            assert not server.engine.dead
            flying = pool.submit(httpx.post, server.base_url + CHAT, json=ask(**LONG), timeout=60)
            until(lambda: server.engine.running)
            assert http.post("/sleep").json() == {"status": "sleeping", "level": 1}
            assert said(flying.result())[1] == "abort"
        until(lambda: refuses(server))
        assert [exchange.faults[0]["kind"] for exchange in server.journal if exchange.faults] == ["engine_death"]

    def test_or_only_while_none_are(self, mock_server_factory: Factory) -> None:
        fault = {"match": {"path": "/sleep", "running": False}, "fault": {"status": 503}}
        server = mock_server_factory(scenario={"faults": [fault]})
        assert httpx.post(server.base_url + "/sleep").status_code == 503
