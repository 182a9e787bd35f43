"""Server versions as data: what differs from 0.32.0 (contract section 5)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mock_server import MockServer
from mock_server.versions import kind_of, names, profile, sglang_profile

Factory = Callable[..., MockServer]
Ask = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], object]], None]
Refuses = Callable[[MockServer], bool]
CHAT = "/v1/chat/completions"


def test_the_profiles_there_are() -> None:
    assert {kind_of(name) for name in names()} == {"vllm", "sglang"}
    for name in names():
        version = profile(name).version if kind_of(name) == "vllm" else sglang_profile(name).version
        assert name == f"{kind_of(name)}-{version}"
    with pytest.raises(ValueError, match=r"unknown profile 'vllm-1'; there are sglang-0\.5\.23, vllm-0\.10\.0, "):
        profile("vllm-1")
    with pytest.raises(ValueError, match="is no profile of vLLM"):
        profile("sglang-0.5.23")
    with pytest.raises(ValueError, match="is no profile of SGLang"):
        sglang_profile("vllm-0.32.0")


def test_0_28(mock_server_factory: Factory) -> None:
    server = mock_server_factory(profile="vllm-0.28.0", max_model_len=100)
    with httpx.Client(base_url=server.base_url) as http:
        assert http.get("/version").json() == {"version": "0.28.0"}
        for path in ("/sleep", "/sleep?level=3", "/wake_up?tags=weights", "/wake_up"):
            response = http.post(path)
            assert (response.status_code, response.content, "content-type" in response.headers) == (200, b"", False)
        empty = http.post("/sleep?level=").json()["error"]
        assert empty["message"] == "invalid literal for int() with base 10: ''"
        junk = http.post("/sleep?mode=junk")
        message = "Call to sleep method failed: Invalid pause mode: junk"
        assert (junk.status_code, junk.json()["error"]["message"]) == (500, message)
        http.post("/wake_up")
        http.post("/sleep?level=2")
        http.post("/wake_up?tags=weights")
        assert 'sleep_state="awake"} 1.0' in http.get("/metrics").text
        http.post("/sleep")  # takes nothing: a part of it sleeps
        assert server.engine.asleep == {"kv_cache"}
        assert http.post("/release_kv_cache_memory").status_code == 404
        assert "sleep_mode" not in http.get("/metrics").text
        assert http.post("/pause?wait_for_inflight_requests=true").json() == {"status": "paused"}

        def refused(body: dict[str, object]) -> str:
            return str(http.post(CHAT, json=body).json()["error"]["message"])

        messages = [{"role": "user", "content": "hi"}]
        assert refused({"messages": messages, "model": "x"}) == "The model `x` does not exist."
        long = [{"role": "user", "content": "x" * 80}]
        assert "you requested 8 output tokens and your prompt contains at least 93 input" in refused(
            {"messages": long, "max_tokens": 8}
        )
        assert "max_model_len=max_total_tokens=100" in refused({"messages": long, "max_tokens": 101})
        assert refused({"n": 1}).endswith("'loc': ('body', 'messages'), 'msg': 'Field required', 'input': {'n': 1}}")
        origin = {"Origin": "http://x.test"}
        assert http.get("/health", headers=origin).headers["access-control-allow-origin"] == "*"
        preflight = http.options(CHAT, headers={**origin, "Access-Control-Request-Method": "POST"})
        assert (preflight.status_code, preflight.text) == (200, "OK")


OLD = ["vllm-0.16.0", "vllm-0.10.0"]
NEW = ["vllm-0.33.0", "vllm-0.32.0", "vllm-0.28.0"]


class TestDangers:
    """What kills the engine of a version, or makes its clients wait."""

    @pytest.mark.parametrize("name", OLD)
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_request_while_asleep_kills(
        self, mock_server_factory: Factory, until: Until, refuses: Refuses, ask: Ask, name: str, stream: bool
    ) -> None:
        server = mock_server_factory(profile=name)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep")
            assert http.get("/is_sleeping").json() == {"is_sleeping": True}
            assert http.get("/health").status_code == 200
            answer = http.post(CHAT, json=ask(stream=stream))
        if stream:
            error, done = answer.text.strip().split("\n\n")
            assert (answer.status_code, done) == (200, "data: [DONE]")
            kind = "InternalServerError" if name == "vllm-0.16.0" else "BadRequestError"
            assert f'"type":"{kind}"' in error
        else:
            assert (answer.status_code, answer.content) == (500, b"")
        until(lambda: refuses(server))

    @pytest.mark.parametrize("name", OLD)
    def test_a_sleep_with_a_request_in_flight_kills(
        self,
        mock_server_factory: Factory,
        pool: ThreadPoolExecutor,
        until: Until,
        refuses: Refuses,
        ask: Ask,
        name: str,
    ) -> None:
        server = mock_server_factory(profile=name, tokens_per_second=200)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            flying = pool.submit(httpx.post, server.base_url + CHAT, json=ask(max_tokens=20_000, ignore_eos=True))
            until(lambda: server.engine.running)
            asleep = http.post("/sleep?mode=wait")  # there is no mode
        assert (asleep.status_code, asleep.content) == (200, b"")
        assert flying.result().status_code == 500
        until(lambda: refuses(server))

    def test_pausing_first_keeps_0_16_alive(
        self, mock_server_factory: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        server = mock_server_factory(profile="vllm-0.16.0")
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/pause")
            http.post("/sleep")
            held = pool.submit(httpx.post, server.base_url + CHAT, json=ask(), timeout=60)
            until(lambda: server.engine.waiting)
            http.post("/wake_up")
            assert http.get("/is_sleeping").json() == {"is_sleeping": False}
            assert http.get("/is_paused").json() == {"is_paused": True}
            assert not held.done()
            http.post("/resume")
            assert held.result().json()["choices"][0]["finish_reason"] == "stop"
            http.post("/pause?mode=keep")
            assert http.get("/is_paused").json() == {"is_paused": False}  # frozen, and it does not say so

    def test_weights_alone_wake_the_scheduler_of_0_23(
        self, mock_server_factory: Factory, until: Until, refuses: Refuses, ask: Ask
    ) -> None:
        server = mock_server_factory(profile="vllm-0.23.0")
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep")
            http.post("/wake_up?tags=weights")
            assert http.get("/is_sleeping").json() == {"is_sleeping": True}
            assert http.get("/is_paused").json() == {"is_paused": False}
            answer = http.post(CHAT, json=ask())
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "InternalServerError")
        until(lambda: refuses(server))

    @pytest.mark.parametrize("name", NEW)
    def test_weights_alone_leave_the_others_paused(
        self, mock_server_factory: Factory, pool: ThreadPoolExecutor, until: Until, ask: Ask, name: str
    ) -> None:
        server = mock_server_factory(profile=name)
        with httpx.Client(base_url=server.base_url, timeout=60) as http:
            http.post("/sleep")
            http.post("/wake_up?tags=weights")
            hanging = pool.submit(httpx.post, server.base_url + CHAT, json=ask(), timeout=60)
            until(lambda: server.engine.waiting)
            assert not hanging.done()
            http.post("/wake_up?tags=kv_cache")
            assert hanging.result().status_code == 200

    def test_the_prefix_cache_of_0_10_outlives_the_memory(self, mock_server_factory: Factory, ask: Ask) -> None:
        hits = {}
        for name in OLD:
            server = mock_server_factory(profile=name)
            with httpx.Client(base_url=server.base_url, timeout=60) as http:
                http.post(CHAT, json=ask("x" * 300))
                for path in ("/sleep", "/wake_up"):
                    http.post(path)
                http.post(CHAT, json=ask("x" * 300))
            hits[name] = server.engine.stats.cached_tokens
        assert hits == {"vllm-0.16.0": 0, "vllm-0.10.0": 256}


class TestOldFaces:
    """What an old version answers otherwise, besides dying."""

    @pytest.mark.parametrize(
        ("name", "path", "status"),
        [
            ("vllm-0.23.0", "/abort_requests", 404),
            ("vllm-0.23.0", "/pause", 200),
            ("vllm-0.16.0", "/pause", 200),
            ("vllm-0.16.0", "/collective_rpc", 400),
            ("vllm-0.10.0", "/pause", 404),
            ("vllm-0.10.0", "/resume", 404),
            ("vllm-0.10.0", "/collective_rpc", 404),
            ("vllm-0.10.0", "/reset_prefix_cache", 200),
        ],
    )
    def test_endpoints(self, mock_server_factory: Factory, name: str, path: str, status: int) -> None:
        server = mock_server_factory(profile=name)
        assert httpx.post(server.base_url + path, json={}).status_code == status

    def test_a_bad_level(self, mock_server_factory: Factory) -> None:
        answers = {}
        for name in ("vllm-0.23.0", *OLD):
            response = httpx.post(mock_server_factory(profile=name).base_url + "/sleep?level=abc")
            answers[name] = response.status_code, response.headers["content-type"]
        plain = 500, "text/plain; charset=utf-8"
        assert answers == {"vllm-0.23.0": (400, "application/json"), "vllm-0.16.0": plain, "vllm-0.10.0": plain}

    def test_errors_of_0_10_are_flat(self, mock_server_factory: Factory, ask: Ask) -> None:
        server = mock_server_factory(profile="vllm-0.10.0")
        error = httpx.post(server.base_url + CHAT, json=ask(model="x")).json()
        assert list(error) == ["object", "message", "type", "param", "code"]
        assert (error["object"], error["type"], error["code"]) == ("error", "NotFoundError", 404)

    def test_guided_choice(self, mock_server_factory: Factory, ask: Ask) -> None:
        said = {}
        for name in ("vllm-0.16.0", "vllm-0.10.0"):
            url = mock_server_factory(profile=name).base_url + CHAT
            for field in ({"guided_choice": ["Yes", "No"]}, {"structured_outputs": {"choice": ["Yes", "No"]}}):
                body = httpx.post(url, json=ask(**field)).json()
                said[name, next(iter(field))] = body["choices"][0]["message"]["content"] in ("Yes", "No")
                assert body["system_fingerprint"] is None
        assert said == {
            ("vllm-0.16.0", "guided_choice"): False,
            ("vllm-0.16.0", "structured_outputs"): True,
            ("vllm-0.10.0", "guided_choice"): True,
            ("vllm-0.10.0", "structured_outputs"): False,
        }

    def test_metrics(self, mock_server_factory: Factory) -> None:
        shown = {}
        for name in ("vllm-0.23.0", *OLD):
            page = httpx.get(mock_server_factory(profile=name).base_url + "/metrics").text
            words = ("engine_sleep_state", 'finished_reason="error"', 'finished_reason="repetition"')
            shown[name] = [word in page for word in words]
        assert shown == {
            "vllm-0.23.0": [True, True, True],
            "vllm-0.16.0": [True, True, False],
            "vllm-0.10.0": [False, False, False],
        }

    def test_the_api_key_guards_less(self, mock_server_factory: Factory) -> None:
        guarded = {}
        for name in ("vllm-0.32.0", "vllm-0.23.0", *OLD):
            url = mock_server_factory(profile=name, api_key="secret").base_url
            paths = ("/v1/models", "/inference/v1/generate", "/cohere/v2/chat")
            guarded[name] = [httpx.post(url + path).status_code == 401 for path in paths]
        assert guarded == {
            "vllm-0.32.0": [True, True, True],
            "vllm-0.23.0": [True, True, False],
            "vllm-0.16.0": [True, False, False],
            "vllm-0.10.0": [True, False, False],
        }

    def test_a_hot_request_is_taken(self, mock_server_factory: Factory, ask: Ask) -> None:
        hot = ask(temperature=3)
        assert httpx.post(mock_server_factory(profile="vllm-0.23.0").base_url + CHAT, json=hot).status_code == 200
        assert httpx.post(mock_server_factory(profile="vllm-0.28.0").base_url + CHAT, json=hot).status_code == 400
