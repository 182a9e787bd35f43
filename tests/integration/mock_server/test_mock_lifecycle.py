"""Starting and stopping: in-process, several at once, with requests that hang, and as a command."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

import mock_server as package
from mock_server import MockServer, ScenarioError

Ask = Callable[..., dict[str, Any]]


class TestInProcess:
    def test_several_at_once(self, mock_server_factory: Callable[..., MockServer], ask: Ask) -> None:
        servers = [mock_server_factory(seed=seed, served_model_name=f"judge-{seed}") for seed in (0, 0, 1)]
        for server in servers:
            assert httpx.get(server.base_url + "/v1/models").json()["data"][0]["id"] == server.config.served_model_name
        httpx.post(servers[0].base_url + "/sleep")
        assert [server.engine.is_sleeping for server in servers] == [True, False, False]
        httpx.post(servers[0].base_url + "/wake_up")
        for server in servers:
            httpx.post(server.base_url + "/v1/chat/completions", json=ask())
        texts = [server.requests[0].text for server in servers]
        assert texts[0] == texts[1] != texts[2]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("tokens_per_second", [None, 10])
    def test_stops_with_requests_that_hang(
        self,
        pool: ThreadPoolExecutor,
        until: Callable[..., None],
        ask: Ask,
        stream: bool,
        tokens_per_second: int | None,
    ) -> None:
        before = threading.active_count()
        with MockServer(tokens_per_second=tokens_per_second) as server:
            if tokens_per_second is None:
                httpx.post(server.base_url + "/sleep")
            url = server.base_url + "/v1/chat/completions"
            hanging = pool.submit(httpx.post, url, json=ask(stream=stream), timeout=60)
            until(lambda: server.engine.waiting + server.engine.running == 1)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            hanging.result()
        assert server.engine.waiting + server.engine.running == 0
        until(lambda: threading.active_count() <= before + 1)  # the pool keeps one thread

    def test_stop_is_idempotent_and_frees_the_port(self) -> None:
        server = MockServer()
        server.stop()
        server.start()
        port = server.port
        server.stop()
        server.stop()
        with MockServer(port=port) as again:
            assert again.base_url == f"http://127.0.0.1:{port}"

    def test_a_gpu_of_another_size(self, start: Start) -> None:
        sizes = "--gpu-memory 24 --gpu-memory-utilization 0.5 --weights-memory 3"
        process = start("--port", "0", "--profile", "vllm-0.16.0", "--gpu-semantics", *sizes.split())
        gpu = httpx.get(url_of(process)[0] + "/_mock/gpu").json()
        assert (gpu["total"], gpu["used"], gpu["weights"]) == (24, 12, 3)

    def test_a_gpu_under_sglang(self, start: Start) -> None:
        flags = "--port 0 --profile sglang-0.5.23 --gpu-semantics --mem-fraction-static 0.5 --enable-memory-saver"
        url, _ = url_of(start(*flags.split(), SGLANG_MEMORY_SAVER_CUDA_GRAPH="1"))
        assert httpx.get(url + "/_mock/gpu").json()["used"] == 40 + 0.5 + 1.2
        httpx.post(url + "/release_memory_occupation", json={})
        assert httpx.get(url + "/_mock/gpu").json()["used"] == 1.2

    def test_a_gpu_that_is_too_small(self, start: Start) -> None:
        process = start("--gpu-semantics", "--gpu-memory", "10")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err.startswith("genrm-mock: a GPU of 10 GiB cannot hold these parts (GiB): weights 15, kv_cache -7.2")

    def test_port_in_use(self) -> None:
        with MockServer() as server, pytest.raises(OSError, match="in use"):
            MockServer(port=server.port).start()

    def test_a_client_that_hangs_up_in_its_own_body(
        self, mock_server: MockServer, until: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_connection((mock_server.host, mock_server.port)) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            until(lambda: mock_server.requests)
        assert httpx.get(mock_server.base_url + "/health").status_code == 200
        mock_server.stop()
        assert (mock_server.requests[0].status, caplog.records) == (None, [])

    def test_ipv6_url(self) -> None:
        assert MockServer(host="::1", port=5).base_url == "http://[::1]:5"

    def test_wrong_arguments(self) -> None:
        with pytest.raises(TypeError, match="nonsense"):
            MockServer(nonsense=1)
        with pytest.raises(ScenarioError, match="unknown field"):
            MockServer(scenario={"nonsense": 1})

    def test_public_names(self) -> None:
        assert import_module("mock_server.__main__").app  # imported, it does not start anything
        assert all(getattr(package, name).__name__ == name for name in package.__all__)
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = package.nonsense


Start = Callable[..., "subprocess.Popen[str]"]


def url_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The URL and the second line of the banner."""
    out: IO[str] = process.stdout  # type: ignore[assignment]
    found = re.match(r"genrm-mock: (http://\S+)  model ", out.readline())
    assert found
    return found.group(1), out.readline()


class TestCommand:
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_serves_until_a_signal_even_with_requests_that_hang(
        self, start: Start, pool: ThreadPoolExecutor, until: Callable[..., None], ask: Ask, signum: int
    ) -> None:
        process = start("--port", "0", "--tokens-per-second", "5", "--enable-sleep-mode", VLLM_SERVER_DEV_MODE="1")
        url, mode = url_of(process)
        assert "dev mode on" in mode
        hanging = pool.submit(httpx.post, url + "/v1/chat/completions", json=ask(), timeout=60)
        until(lambda: re.search(r"num_requests_running\{.*\} 1\.0\n", httpx.get(url + "/metrics").text))
        process.send_signal(signum)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            hanging.result()

    def test_flags(self, start: Start, tmp_path: Path) -> None:
        scenario = tmp_path / "mine.yaml"
        scenario.write_text("unrecognised: Hello there.\n", encoding="utf-8")
        arguments = "--port 0 --served-model-name mine --max-model-len 500 --api-key k --enable-request-id-headers"
        process = start(*arguments.split(), "--scenario", str(scenario))
        url, mode = url_of(process)
        assert "dev mode off" in mode
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer k"}) as client:
            model = client.get("/v1/models").json()["data"][0]
            assert (model["id"], model["max_model_len"]) == ("mine", 500)
            answer = client.post("/v1/completions", json={"prompt": "x"})
            assert answer.json()["choices"][0]["text"] == "Hello there."
            assert answer.headers["x-request-id"]
            assert client.post("/sleep").status_code == 404
            assert httpx.get(url + "/v1/models").status_code == 401

    def test_address_by_variables(self, start: Start) -> None:
        url, _ = url_of(start(MOCK_SERVER_HOST="localhost", MOCK_SERVER_PORT="0"))
        assert url.startswith("http://localhost:")
        assert httpx.get(url + "/health").status_code == 200

    def test_wrong_scenario(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text("errors:\n  false_true: 2\n", encoding="utf-8")
        process = start("--scenario", str(path))
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err == (
            "genrm-mock: wrong scenario:\n"
            f"{path}:2: errors.false_true: input should be less than or equal to 1 (it is 2)\n"
        )

    def test_port_in_use(self, start: Start) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            process = start("--port", str(port))
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert err == f"genrm-mock: cannot listen on 127.0.0.1:{port}: Address already in use\n"

    def test_validate(self, start: Start, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("faults:\n  - {fault: hang}\n  - {fault: close}\n", encoding="utf-8")
        good = tmp_path / "good.yaml"
        good.write_text("faults:\n  - {fault: hang}\n", encoding="utf-8")
        process = start("validate", str(path), str(good))
        finding = f"{path}:3: faults.1: can never fire: faults.0 takes every such call first\n"
        assert process.communicate(timeout=60) == (finding, "")
        assert process.returncode == 1
        process = start("validate", str(good))
        assert process.communicate(timeout=60) == (f"genrm-mock: nothing to say against {good}\n", "")
        assert process.returncode == 0

    def test_death_of_the_command_s_server(self, start: Start, until: Callable[..., None]) -> None:
        process = start("--port", "0")
        url, _ = url_of(process)
        httpx.post(url + "/_mock/kill?restart_after_s=0.01")

        def alive() -> bool:
            try:
                return httpx.get(url + "/health").status_code == 200
            except httpx.TransportError:
                return False

        until(alive)
        httpx.post(url + "/_mock/kill")
        assert not alive()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0

    def test_without_control(self, start: Start) -> None:
        url, _ = url_of(start("--port", "0", "--no-control"))
        assert httpx.get(url + "/_mock/state").status_code == 404

    def test_help(self, start: Start) -> None:
        process = start("--help")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "genrm-mock --scenario my.yaml --seed 7\n" in out
        assert "VLLM_SERVER_DEV_MODE" in out
