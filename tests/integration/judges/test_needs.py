"""What a machine may lack is said in one line that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from fake_nvml import Card, FakeNvml
from judges.launch import gpu_lacks, lacks
from judges.options import Options
from judges.programs import KINDS, needs

Cards: TypeAlias = Callable[..., None]
Script: TypeAlias = Callable[[str], str]

GPU_SERVERS = [kind.name for kind in KINDS.values() if kind.gpu]


class _WithoutDriver(FakeNvml):
    def nvmlInit(self) -> None:  # noqa: N802
        raise OSError("NVML Shared Library Not Found")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    """Let the machine have these GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda *cards: monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*cards))


@pytest.mark.parametrize("server", GPU_SERVERS)
def test_a_driver(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _WithoutDriver())
    assert lacks(Options(server)) == (
        f"{server} needs an NVIDIA GPU, and none is seen here (NVML: NVML Shared Library Not Found); "
        "--server vllm-cpu, hf, mock and mock-sglang need none"
    )


@pytest.mark.parametrize("server", GPU_SERVERS)
def test_a_gpu(server: str, cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    says = f"{server} needs an NVIDIA GPU, and CUDA_VISIBLE_DEVICES or the driver shows none"
    cards()
    assert str(gpu_lacks(Options(server))).startswith(says)
    cards(Card("GPU-a"))
    assert gpu_lacks(Options(server)) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert str(gpu_lacks(Options(server))).startswith(says)


def test_a_gpu_for_each_worker(cards: Cards) -> None:
    cards(Card("GPU-a"), Card("GPU-b"))
    assert gpu_lacks(Options("sglang", dp_size=2)) is None
    assert gpu_lacks(Options("sglang", dp_size=3)) == ("--dp-size 3 needs as many GPUs; those that are seen here: 0, 1")


def test_a_gpu_that_is_large_enough(cards: Cards) -> None:
    cards(Card("GPU-a", total=15.9), Card("GPU-b", total=80))
    assert gpu_lacks(Options("vllm")) == (
        "verl-team/GenRM-CI-Test-1.5B needs 22 GiB, and a GPU here has 15.9 GiB: --model names a smaller one"
    )
    assert gpu_lacks(Options("vllm", model="my/smaller")) is None
    cards(Card("GPU-a", total=22.5))
    assert gpu_lacks(Options("vllm")) is None


def test_servers_on_cpu_need_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _WithoutDriver())
    assert not any(gpu_lacks(Options(kind.name)) for kind in KINDS.values() if not kind.gpu)


@pytest.fixture
def python(tmp_path: Path) -> Script:
    """A Python with that beginning."""

    def script(first: str) -> str:
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\n{first}\nexec {sys.executable} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return script


def test_a_python_may_talk(python: Script, capfd: pytest.CaptureFixture[str]) -> None:
    noisy = Options("vllm", python=python("echo hello; echo world >&2"))
    assert needs.engine("json", "")(noisy) is None
    assert capfd.readouterr() == ("", "")


def test_a_python_that_does_not_answer(python: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "PATIENCE", 0.5)
    path = python("exec sleep 60")
    says = f"{path} does not answer within 0.5 s: --python or JUDGE_PYTHON names another one"
    assert needs.engine("json", "")(Options("vllm", python=path)) == says
    assert needs.model("a/model", path) == says


def test_a_torch_that_is_not_for_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "torch-2.13.0+cpu.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert needs.torch_for_gpu(Options("vllm")) == (
        f"{sys.executable} has torch 2.13.0+cpu: install it where pip sees no torch for CPU (pip config list)"
    )
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
    assert needs.torch_for_gpu(Options("vllm")) is None


def test_an_engine() -> None:
    missing = needs.engine("no_such_engine", "pip install it")(Options("vllm"))
    assert missing == f"{sys.executable} has no no_such_engine: pip install it, or name another one by JUDGE_PYTHON"
    assert needs.engine("json", "")(Options("vllm")) is None


def test_a_model_in_a_folder(tmp_path: Path) -> None:
    assert needs.model(str(tmp_path), sys.executable) == f"the folder {tmp_path} holds no model (config.json)"
    (tmp_path / "config.json").touch()
    assert needs.model(str(tmp_path), sys.executable) is None


def test_a_model_that_the_hub_does_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In place of the Hub's client, which is the engine's.
    (tmp_path / "huggingface_hub.py").write_text("def hf_hub_download(*_): raise OSError('no such\\nmodel')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    missing = needs.model("nobody/nothing", sys.executable)
    assert (
        missing
        == "the model nobody/nothing cannot be had (model): --model or GENRM_MODEL names a folder or another one"
    )
