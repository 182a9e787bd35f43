"""SGLang with --gpu-semantics over HTTP: what is freed, what kills, and what comes back lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mock_server import MockServer
from sglang_support import CHAT, Ask, Factory, Until

RELEASE, RESUME = "/release_memory_occupation", "/resume_memory_occupation"
UPDATE = "/update_weights_from_disk"
UPDATED = {"success": True, "message": "Succeeded to update model weights.", "num_paused_requests": 0}


@pytest.fixture
def make(mock_server_factory: Factory) -> Factory:
    """Factory an SGLang server with a memory saver on a GPU of 80 GiB."""

    def make(**settings: Any) -> MockServer:
        default = {
            "profile": "sglang-0.5.23",
            "gpu_semantics": True,
            "enable_memory_saver": True,
            "health_seconds": 0.01,
        }
        return mock_server_factory(**{**default, **settings})

    return make


@pytest.fixture
def server(make: Factory) -> MockServer:
    return make()


def said(answer: httpx.Response) -> tuple[str, str]:
    choice = answer.json()["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def gpu(http: httpx.Client) -> dict[str, Any]:
    held: dict[str, Any] = http.get("/_mock/gpu").json()
    return held


def post(http: httpx.Client, path: str, *tags: str) -> None:
    assert http.post(path, json={"tags": tags} if tags else {}).status_code == 200


class TestWhatIsFreed:
    def test_by_tags(self, http: httpx.Client) -> None:
        assert gpu(http) == {
            "total": 80,
            "free": 6.3,
            "used": 73.7,
            "runtime": 1.2,
            "weights": 15,
            "kv_cache": 57,
            "cuda_graph": 0.5,
            "claims": {},
            "weights_lost": False,
        }
        post(http, RELEASE, "kv_cache")
        assert gpu(http)["used"] == 16.7
        post(http, RELEASE, "weights", "coffee")
        assert gpu(http)["used"] == 1.7
        post(http, RESUME, "coffee", "weights")
        assert gpu(http)["used"] == 16.7

    @pytest.mark.parametrize(("saves_graphs", "used"), [(False, 1.7), (True, 1.2)])
    def test_cuda_graphs_only_where_the_memory_saver_has_them(
        self, make: Factory, ask: Ask, saves_graphs: bool, used: float
    ) -> None:
        with httpx.Client(base_url=make(memory_saver_cuda_graph=saves_graphs).base_url, timeout=60) as http:
            post(http, RELEASE)
            assert gpu(http)["used"] == used
            post(http, RESUME)
            assert gpu(http)["used"] == 73.7
            assert http.post(CHAT, json=ask()).status_code == 200

    def test_nothing_without_the_memory_saver(self, make: Factory, ask: Ask) -> None:
        with httpx.Client(base_url=make(enable_memory_saver=False).base_url, timeout=60) as http:
            good = said(http.post(CHAT, json=ask()))
            post(http, RELEASE)
            post(http, RELEASE)
            assert gpu(http)["used"] == 73.7
            assert http.put("/_mock/gpu", json={"claims": {"trainer": 60}}).status_code == 409
            assert said(http.post(CHAT, json=ask())) == good
            post(http, RESUME)
            assert said(http.post(CHAT, json=ask())) == good

    def test_a_trainer_fits_beside_a_released_server(self, http: httpx.Client, ask: Ask) -> None:
        post(http, RELEASE)
        assert http.put("/_mock/gpu", json={"claims": {"trainer": 60}}).json()["free"] == 18.3
        post(http, RESUME, "weights")
        http.put("/_mock/gpu", json={"claims": {}})
        post(http, RESUME, "kv_cache", "cuda_graph")
        assert http.post(UPDATE, json={"model_path": "m"}).json() == UPDATED
        assert said(http.post(CHAT, json=ask()))[1] == "stop"

    def test_a_reset_frees_and_heals(self, http: httpx.Client, ask: Ask) -> None:
        good = said(http.post(CHAT, json=ask()))
        post(http, RELEASE)
        http.put("/_mock/gpu", json={"claims": {"trainer": 60}})
        http.post("/_mock/reset")
        assert (gpu(http)["used"], gpu(http)["claims"], gpu(http)["weights_lost"]) == (73.7, {}, False)
        assert said(http.post(CHAT, json=ask())) == good

    def test_a_card_that_is_too_small(self, make: Factory) -> None:
        with pytest.raises(ValueError, match="a GPU of 10 GiB cannot hold these parts"):
            make(gpu_memory=10)


class TestDeath:
    """Nobody gets an answer, and connections are refused: the process is gone."""

    @pytest.fixture(autouse=True)
    def _dead_at_the_end(
        self, server: MockServer, refuses: Callable[[MockServer], bool], until: Until
    ) -> Iterator[None]:
        yield
        until(lambda: refuses(server))
        assert server.engine.dead

    @pytest.mark.parametrize("tag", ["weights", "kv_cache"])
    @pytest.mark.parametrize("stream", [False, True])
    def test_of_a_request_on_released_memory(self, http: httpx.Client, ask: Ask, tag: str, stream: bool) -> None:
        post(http, RELEASE, tag)
        with pytest.raises(httpx.TransportError):
            http.post(CHAT, json=ask(stream=stream))

    def test_of_a_check_of_its_health(self, http: httpx.Client) -> None:
        post(http, RELEASE, "kv_cache")
        with pytest.raises(httpx.TransportError):
            http.get("/health")

    def test_of_continuing_too_early(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        http.post("/pause_generation", json={})
        waiting = pool.submit(httpx.post, server.base_url + CHAT, json=ask(), timeout=60)
        until(lambda: server.engine.waiting)
        post(http, RELEASE)
        assert http.get("/health").status_code == 503
        assert http.post("/continue_generation", json={}).status_code == 200
        with pytest.raises(httpx.TransportError):
            waiting.result()

    def test_of_resuming_what_does_not_fit(self, http: httpx.Client) -> None:
        post(http, RELEASE)
        http.put("/_mock/gpu", json={"claims": {"trainer": 60}})
        post(http, RESUME, "weights")
        with pytest.raises(httpx.TransportError):
            http.post(RESUME, json={"tags": ["kv_cache"]})

    def test_of_releasing_twice(self, http: httpx.Client) -> None:
        post(http, RELEASE, "weights")
        with pytest.raises(httpx.TransportError):
            http.post(RELEASE, json={})

    def test_of_loading_weights_that_are_released(self, http: httpx.Client) -> None:
        post(http, RELEASE, "weights")
        with pytest.raises(httpx.TransportError):
            http.post(UPDATE, json={"model_path": "m"})


class TestGarbage:
    def test_until_the_weights_are_loaded(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        good = said(http.post(CHAT, json=ask()))
        post(http, RELEASE, "weights")
        post(http, RESUME, "weights")
        assert said(http.post(CHAT, json=ask(max_tokens=12))) == ("!" * 12, "length")
        lines = http.post(CHAT, json=ask(max_tokens=4, stream=True)).text.splitlines()
        pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces) == "!!!!"
        whole = http.post("/generate", json={"text": "hi", "sampling_params": {"max_new_tokens": 3}}).json()
        assert whole["text"] == "!!!"
        assert [exchange.answers[0].shape for exchange in server.requests] == ["verdict", *["garbage"] * 3]
        assert gpu(http)["weights_lost"] is True
        assert http.post(UPDATE, json={"model_path": "m"}).json() == UPDATED
        assert gpu(http)["weights_lost"] is False
        assert said(http.post(CHAT, json=ask())) == good

    def test_bound_to_a_form_it_is_a_verdict_by_chance(
        self, http: httpx.Client, ask: Ask, prompt_of: Callable[..., str]
    ) -> None:
        post(http, RELEASE, "weights")
        post(http, RESUME, "weights")
        bodies = [ask(prompt_of(f"{n} + 1 = {n + 1}"), regex="True|False") for n in range(20)]
        assert {said(http.post(CHAT, json=body)) for body in bodies} == {("True", "stop"), ("False", "stop")}

    def test_not_with_a_backup(self, make: Factory, ask: Ask) -> None:
        with httpx.Client(base_url=make(enable_weights_cpu_backup=True).base_url, timeout=60) as http:
            good = said(http.post(CHAT, json=ask()))
            post(http, RELEASE)
            post(http, RESUME)
            assert said(http.post(CHAT, json=ask())) == good

    def test_not_on_a_cpu(self, make: Factory, ask: Ask) -> None:
        with httpx.Client(base_url=make(gpu_semantics=False).base_url, timeout=60) as http:
            good = said(http.post(CHAT, json=ask()))
            post(http, RELEASE)
            assert said(http.post(CHAT, json=ask())) == good
            post(http, RESUME)
            assert said(http.post(CHAT, json=ask())) == good
            assert http.get("/_mock/gpu").status_code == 404

    def test_whoever_waited_gets_it_too(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        http.post("/pause_generation", json={})
        waiting = pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=3), timeout=60)
        until(lambda: server.engine.waiting)
        post(http, RELEASE)
        post(http, RESUME)
        http.post("/continue_generation", json={})
        assert said(waiting.result()) == ("!!!", "length")

    def test_a_restart_loads_them(self, make: Factory, until: Until, ask: Ask) -> None:
        server = make()
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            post(http, RELEASE)
            post(http, RESUME)
            http.post(UPDATE, json={"model_path": "m", "weight_version": "7"})
            http.post("/_mock/kill?restart_after_s=0")
        until(lambda: not server.engine.dead)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            until(lambda: _up(http))
            assert http.get("/model_info").json()["weight_version"] == "default"
            assert said(http.post(CHAT, json=ask()))[1] == "stop"


def _up(http: httpx.Client) -> bool:
    try:
        return http.get("/ready").is_success
    except httpx.TransportError:
        return False


class TestUpdates:
    def test_names_follow_the_weights(self, http: httpx.Client, ask: Ask) -> None:
        updated = http.post(UPDATE, json={"model_path": "/models/step-3", "weight_version": "3"})
        message = "Succeeded to update model weights. Weight version updated to 3."
        assert (updated.status_code, updated.json()) == (200, {**UPDATED, "message": message})
        for path in ("/model_info", "/server_info"):
            info = http.get(path).json()
            assert (info["model_path"], info["served_model_name"], info["weight_version"]) == (
                "/models/step-3",
                "/models/step-3",
                "3",
            )
        assert [card["id"] for card in http.get("/v1/models").json()["data"]] == ["/models/step-3"]
        versions = [{"version": "3", "start": 0, "end": 4}]
        metadata = http.post(CHAT, json=ask(max_tokens=4)).json()["metadata"]
        assert metadata == {"weight_version": "3", "weight_versions": versions}
        http.post(UPDATE, json={"model_path": "/models/step-4"})
        assert http.get("/model_info").json()["weight_version"] == "3"

    @pytest.mark.parametrize("body", [{}, {"model_path": None}, {"model_path": 5}, []])
    def test_wrong_bodies(self, http: httpx.Client, body: object) -> None:
        assert http.post(UPDATE, json=body).status_code == 400

    def test_they_wait_for_what_runs(self, make: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask) -> None:
        server = make(tokens_per_second=200)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            running = pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=40), timeout=60)
            until(lambda: server.engine.running)
            assert http.post(UPDATE, json={"model_path": "m"}).json() == UPDATED
            assert server.engine.running == 0
            assert said(running.result())[1] == "length"

    def test_or_end_it(self, make: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask) -> None:
        server = make(tokens_per_second=200)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            running = pool.submit(
                httpx.post, server.base_url + CHAT, json=ask(max_tokens=20_000, ignore_eos=True), timeout=60
            )
            until(lambda: server.engine.running)
            assert http.post(UPDATE, json={"model_path": "m", "abort_all_requests": True}).json() == UPDATED
            assert said(running.result())[1] == "abort"

    def test_under_what_is_frozen_the_cache_stays(
        self, make: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        server = make(tokens_per_second=200)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            frozen = pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=40), timeout=60)
            until(lambda: server.engine.running)
            http.post("/pause_generation", json={"mode": "in_place"})
            refused = http.post(UPDATE, json={"model_path": "m"})
            assert (refused.status_code, refused.json()["success"]) == (400, False)
            assert refused.json()["message"].startswith("Weights were updated, but the cache was not flushed")
            assert http.post(UPDATE, json={"model_path": "m", "flush_cache": False}).json() == UPDATED
            http.post("/continue_generation", json={})
            assert said(frozen.result())[1] == "length"

    def test_a_server_that_dies_meanwhile(
        self, make: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        server = make(tokens_per_second=200)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=20_000, ignore_eos=True), timeout=60)
            until(lambda: server.engine.running)
            updating = pool.submit(httpx.post, server.base_url + UPDATE, json={"model_path": "m"}, timeout=60)
            until(lambda: any(exchange.path == UPDATE for exchange in server.journal))
            http.post("/_mock/kill")
            with pytest.raises(httpx.TransportError):
                updating.result()
