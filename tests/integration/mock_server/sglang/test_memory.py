"""Releasing and resuming SGLang's memory, and what it dies of."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from mock_server import MockServer
from sglang_support import ALL, CHAT, Ask, Factory, Until, state


class TestMemory:
    def test_release_and_resume(self, http: httpx.Client, ask: Ask) -> None:
        released = http.post("/release_memory_occupation", json={})
        assert (released.status_code, released.json()) == (200, None)
        assert state(http)["memory"]["released"] == ALL
        assert http.post(CHAT, json=ask()).status_code == 200  # nothing holds it back
        assert http.get("/ready").status_code == 200
        assert http.post("/release_memory_occupation", json={"tags": ["weights"]}).status_code == 200
        assert http.request("GET", "/resume_memory_occupation", json={"tags": ["kv_cache"]}).status_code == 200
        assert state(http)["memory"]["released"] == ["cuda_graph", "weights"]
        assert http.post("/release_memory_occupation", json={"tags": ["coffee"]}).status_code == 200
        http.post("/_mock/reset")
        assert state(http)["memory"]["released"] == []

    def test_what_is_lost(self, sglang: Factory) -> None:
        for backup in (False, True):
            server = sglang(enable_memory_saver=True, enable_weights_cpu_backup=backup)
            with httpx.Client(base_url=server.base_url) as client:
                for path in ("/release_memory_occupation", "/resume_memory_occupation"):
                    client.post(path, json={})
                assert state(client)["memory"]["weights_lost"] is not backup
                assert client.get("/server_info").json()["enable_memory_saver"] is True

    def test_garbage_with_a_gpu(self, sglang: Factory, prompt_of: Callable[..., str]) -> None:
        server = sglang(gpu_semantics=True, enable_memory_saver=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:

            def said() -> str:
                body = {"messages": [{"role": "user", "content": prompt_of()}], "max_tokens": 400}
                return str(client.post(CHAT, json=body).json()["choices"][0]["message"]["content"])

            sense = said()
            client.post("/release_memory_occupation", json={})
            gpu = client.get("/_mock/gpu").json()
            assert (gpu["weights"], gpu["kv_cache"]) == (0, 0)
            client.post("/resume_memory_occupation", json={})
            assert set(said()) == {"!"}
            assert client.post("/update_weights_from_disk", json={}).status_code == 400
            updated = client.post("/update_weights_from_disk", json={"model_path": "judge"})
            assert updated.json()["success"] is True
            assert said() == sense
            client.post("/release_memory_occupation", json={"tags": ["weights"]})
            client.post("/_mock/reset")
            assert said() == sense

    def test_it_dies_of_released_memory_with_a_gpu(self, sglang: Factory, ask: Ask) -> None:
        server = sglang(gpu_semantics=True, enable_memory_saver=True, enable_weights_cpu_backup=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            client.post("/release_memory_occupation", json={"tags": ["kv_cache"]})
            with pytest.raises(httpx.TransportError):
                client.post(CHAT, json=ask())
        assert server.engine.dead

    def test_it_dies_where_there_is_no_room(self, sglang: Factory) -> None:
        server = sglang(gpu_semantics=True, enable_memory_saver=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            client.post("/release_memory_occupation", json={})
            assert client.put("/_mock/gpu", json={"claims": {"trainer": 60}}).status_code == 200
            with pytest.raises(httpx.TransportError):
                client.post("/resume_memory_occupation", json={})
        assert server.engine.dead

    def test_nothing_happens_without_the_memory_saver(self, sglang: Factory, ask: Ask) -> None:
        server = sglang(gpu_semantics=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            client.post("/release_memory_occupation", json={})
            assert client.post(CHAT, json=ask()).status_code == 200
            assert client.get("/_mock/gpu").json()["weights"] == 15
            client.post("/resume_memory_occupation", json={})
            assert client.get("/_mock/state").json()["engine"]["memory"]["weights_lost"] is False

    @pytest.mark.parametrize("content", [b"", b"5", b'{"tags": "weights"}', b'{"tags": [5]}'])
    def test_wrong_bodies(self, http: httpx.Client, content: bytes) -> None:
        for path in ("/release_memory_occupation", "/resume_memory_occupation"):
            headers = {"content-type": "application/json"}
            assert http.post(path, content=content, headers=headers).status_code == 400
        assert http.get("/ready").status_code == 200

    @pytest.mark.parametrize("stream", [False, True])
    def test_it_dies_of_a_release_while_busy(
        self,
        slow_server: MockServer,
        slow: httpx.Client,
        pool: ThreadPoolExecutor,
        until: Until,
        ask: Ask,
        stream: bool,
    ) -> None:
        """Nobody gets an answer: the process is gone."""
        asked = pool.submit(slow.post, CHAT, json=ask(stream=stream))
        until(lambda: slow_server.engine.running == 1)
        with pytest.raises(httpx.TransportError):
            httpx.post(slow_server.base_url + "/release_memory_occupation", json={}, timeout=60)
        with pytest.raises(httpx.TransportError):
            asked.result()
        with pytest.raises(httpx.ConnectError):
            httpx.get(slow_server.base_url + "/ready")
        assert slow_server.engine.dead

    @pytest.mark.parametrize("tags", [None, ["weights"], ["kv_cache", "kv_cache"]])
    def test_it_dies_of_resuming_what_is_not_released(
        self, server: MockServer, http: httpx.Client, tags: list[str] | None
    ) -> None:
        http.post("/release_memory_occupation", json={"tags": ["kv_cache"]})
        with pytest.raises(httpx.TransportError):
            http.post("/resume_memory_occupation", json={"tags": tags})
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.base_url + "/ready")
