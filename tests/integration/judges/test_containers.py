"""The launcher of containers, by the real Docker SDK, against an engine whose containers are processes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from rich.console import Console

import judges.cases
from fake_docker import FakeDocker
from judges import containers
from judges.host import StartError
from judges.launch import lacks, launched
from judges.options import Options
from judges.programs import KINDS
from served import served

pytest.importorskip("docker", reason="the Docker SDK is not installed (pip install docker)")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeDocker]:
    """A Docker engine that has one image, whose Python is this one."""
    fake = FakeDocker({"my/mock:1": sys.executable})
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with served(fake.app) as url:
        monkeypatch.setenv("DOCKER_HOST", url.replace("http://", "tcp://"))
        yield fake


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """A mock in a container of that image."""
    return Options("mock", docker=True, image="my/mock", tag="1", work=tmp_path, start_timeout=300)


def test_a_container_comes_up_with_its_log_shown_and_is_gone(engine: FakeDocker, options: Options) -> None:
    shown = io.StringIO()
    assert lacks(options) is None
    with launched(options, Console(file=shown)) as judge:
        assert httpx.get(f"{judge.url}/health").status_code == 200
        (name,) = engine.created
        assert judge.host.how_to_stop == f"docker rm --force {name}"
    assert "  | genrm-mock: dev mode on" in shown.getvalue()
    assert "mock ended; its container is gone" in shown.getvalue()
    assert not engine.created
    with pytest.raises(httpx.TransportError):
        httpx.get(judge.url)


def test_it_shares_the_network_and_runs_its_own_python(engine: FakeDocker, options: Options) -> None:
    with launched(options, Console(file=io.StringIO())):
        pass
    (wanted,) = engine.was_asked_for
    assert wanted["Entrypoint"] == ["python3"]
    assert wanted["Cmd"][:2] == ["-m", "mock_server"]
    assert wanted["HostConfig"]["NetworkMode"] == "host"
    assert wanted["HostConfig"]["IpcMode"] == "host"
    assert not wanted["HostConfig"].get("DeviceRequests")
    cases = Path(judges.cases.__file__).parent
    assert wanted["HostConfig"]["Binds"] == [f"{cases}:{cases}:ro"]  # with its scenario


def test_a_gpu_and_a_folder_with_a_model_are_given_to_it(engine: FakeDocker, options: Options, tmp_path: Path) -> None:
    program = KINDS["vllm"].program(replace(options, model=str(tmp_path)), 1)
    host = containers.ContainerHost(program, "vllm/vllm-openai:v1", tmp_path / "log", gpu=True)
    with pytest.raises(StartError, match=r"vllm/vllm-openai:v1 cannot be run: .*pull access denied"):
        host.start()
    (wanted,) = engine.was_asked_for
    assert wanted["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert wanted["HostConfig"]["DeviceRequests"][0]["Count"] == -1
    cache = f"{tmp_path}/.cache/huggingface:/root/.cache/huggingface:rw"
    assert wanted["HostConfig"]["Binds"] == [f"{tmp_path}:{tmp_path}:ro", cache]
    assert "--enable-sleep-mode" in wanted["Cmd"]


def test_one_that_ends_at_start_says_why(engine: FakeDocker, options: Options) -> None:
    broken = replace(options, memory=1.5)
    says = r"(?s)mock ended with exit code 2; .* ends with.*--gpu-memory-utilization"
    with pytest.raises(StartError, match=says), launched(broken, Console(file=io.StringIO())):
        raise AssertionError("it is not up")
    assert not engine.created


def test_an_engine_that_does_not_answer_is_one_line(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    reason = lacks(options)
    assert reason
    assert reason.startswith("--docker needs a Docker engine that answers")
    assert "\n" not in reason


def test_a_judge_without_an_image_says_so() -> None:
    reason = lacks(Options("mock-sglang", docker=True))
    assert reason == "--docker: there is no image of mock-sglang (--image names one)"
