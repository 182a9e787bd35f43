"""Server versions as data: what differs from 0.32.0 (contract section 5)."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from mock_server import MockServer
from mock_server.versions import kind_of, names, profile, sglang_profile

Factory = Callable[..., MockServer]
CHAT = "/v1/chat/completions"


def test_the_profiles_there_are() -> None:
    assert {kind_of(name) for name in names()} == {"vllm", "sglang"}
    for name in names():
        version = profile(name).version if kind_of(name) == "vllm" else sglang_profile(name).version
        assert name == f"{kind_of(name)}-{version}"
    with pytest.raises(ValueError, match=r"unknown profile 'vllm-1'; there are sglang-0\.5\.23, vllm-0\.23\.0, "):
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
        assert http.post("/release_kv_cache_memory").status_code == 404
        assert "sleep_mode" not in http.get("/metrics").text

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


def test_0_23_wakes_too_early(mock_server_factory: Factory) -> None:
    server = mock_server_factory(profile="vllm-0.23.0")
    with httpx.Client(base_url=server.base_url) as http:
        http.post("/sleep")
        http.post("/wake_up?tags=weights")
        assert http.get("/is_sleeping").json() == {"is_sleeping": True}
        body = {"messages": [{"role": "user", "content": "hi"}], "temperature": 3}
        assert http.post(CHAT, json=body, timeout=10).status_code == 200
        assert http.post("/reset_prefix_cache").content == b""
        assert http.post("/abort_requests", json={}).status_code == 404
