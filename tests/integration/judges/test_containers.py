"""The launcher of containers, by the real Docker SDK, against an engine whose containers are processes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from rich.console import Console

import judges.cases
from fake_docker import FakeDocker
from judges import containers, docker_engine, images
from judges.host import StartError
from judges.launch import lacks, launched
from judges.options import Options
from judges.programs import KINDS
from served import served

pytest.importorskip("docker", reason="the Docker SDK is not installed (pip install docker)")

from docker.models.containers import Container

Serve: TypeAlias = Callable[[FakeDocker], FakeDocker]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Let a Docker engine be the one that answers."""
    with ExitStack() as running:

        def serve(fake: FakeDocker) -> FakeDocker:
            url = running.enter_context(served(fake.app))
            monkeypatch.setenv("DOCKER_HOST", url.replace("http://", "tcp://"))
            return fake

        yield serve


@pytest.fixture
def engine(serve: Serve) -> FakeDocker:
    """One that has one image, whose Python is this one."""
    return serve(FakeDocker({"my/mock:1": sys.executable}))


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """A mock in a container of that image."""
    return Options("mock", docker=True, image="my/mock", tag="1", work=tmp_path, start_timeout=300)


def test_a_container_comes_up_and_is_gone_and_leaves_its_log(engine: FakeDocker, options: Options) -> None:
    shown = io.StringIO()
    assert lacks(options) is None
    with launched(options, Console(file=shown)) as judge:
        assert httpx.get(f"{judge.url}/health").status_code == 200
        (name,) = engine.created
        assert judge.host.how_to_stop == f"docker rm --force {name}"
    assert "genrm-mock: dev mode on" in judge.log.read_text()  # it may come a moment after the server is up
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


def on_gpus(options: Options, tmp_path: Path, *gpus: str) -> containers.ContainerHost:
    """vLLM in a container that has these GPUs."""
    program = KINDS["vllm"].program(replace(options, model=str(tmp_path)), 1)
    return containers.ContainerHost(program, "vllm/vllm-openai:v1", tmp_path / "log", gpus)


def test_gpus_and_a_folder_with_a_model_are_given_to_it(
    engine: FakeDocker, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_HOME", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    given = {"HF_ENDPOINT": "http://mirror", "HF_TOKEN": "secret", "https_proxy": "http://proxy"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError, match=r"vllm/vllm-openai:v1 cannot be run: .*No such image"):
        on_gpus(options, tmp_path, "GPU-1", "GPU-3").start()
    (wanted,) = engine.was_asked_for
    (devices,) = wanted["HostConfig"]["DeviceRequests"]
    assert (devices["DeviceIDs"], devices["Capabilities"]) == (["GPU-1", "GPU-3"], [["gpu"]])
    # What it downloads is root's, and stays with Docker.
    volume = "genrm-huggingface:/root/.cache/huggingface:rw"
    assert wanted["HostConfig"]["Binds"] == [f"{tmp_path}:{tmp_path}:ro", volume]
    assert "--enable-sleep-mode" in wanted["Cmd"]
    variables = dict(entry.split("=", 1) for entry in wanted["Env"])
    assert given.items() <= variables.items()
    assert variables["HF_HOME"] == "/root/.cache/huggingface"
    assert variables["NO_PROXY"] == "127.0.0.1"


def test_without_a_hub_it_reads_what_the_caller_has_downloaded(
    engine: FakeDocker, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(StartError):
        on_gpus(options, tmp_path, "GPU-1").start()
    (wanted,) = engine.was_asked_for
    assert wanted["HostConfig"]["Binds"][-1] == f"{tmp_path}/hub:/root/.cache/huggingface:ro"
    assert "HF_HUB_OFFLINE=1" in wanted["Env"]


def test_an_image_that_is_not_here_is_pulled_for_all_to_see(
    options: Options, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setattr(images, "SAY_SECONDS", 0.0)
    serve(FakeDocker({}, to_pull={"my/mock:1": sys.executable}))
    shown = io.StringIO()
    with launched(options, Console(file=shown)) as judge:
        assert httpx.get(f"{judge.url}/health").status_code == 200
    assert "pulling my/mock:1: 0.5 of 2.0 GB" in shown.getvalue()


@pytest.mark.parametrize(("broken", "tag"), [("no space left on device", "1"), ("", "2")])
def test_an_image_that_cannot_be_had_is_one_line(options: Options, serve: Serve, broken: str, tag: str) -> None:
    serve(FakeDocker({}, to_pull={"my/mock:1": sys.executable}, broken=broken))
    says = f"the image my/mock:{tag} cannot be had: .*{broken or 'pull access denied'}"
    with pytest.raises(StartError, match=says), launched(replace(options, tag=tag), Console(file=io.StringIO())):
        raise AssertionError("it is not up")


def test_one_whose_start_is_not_answered_does_not_run_on(
    options: Options, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setattr(docker_engine, "ANSWER_SECONDS", 1.0)
    engine = serve(FakeDocker({"my/mock:1": sys.executable}, hangs=True))
    with pytest.raises(StartError, match=r"cannot be run: .*timed out"), launched(options, Console(file=io.StringIO())):
        raise AssertionError("it is not up")
    assert not engine.created
    assert not engine.running


def test_ctrl_c_while_it_starts_ends_it(engine: FakeDocker, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Container.start

    def interrupted(container: Container) -> None:
        start(container)
        assert engine.running
        raise KeyboardInterrupt

    monkeypatch.setattr(Container, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), launched(options, Console(file=io.StringIO())):
        raise AssertionError("it is not up")
    assert not engine.created
    assert not engine.running


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
