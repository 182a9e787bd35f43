"""The trainer that takes GPU memory, as a real process, with a stand-in for torch that counts bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import judges
from fake_docker import FakeDocker
from fake_nvml import Card, FakeNvml
from judges.gpus import Gpus
from judges.host import StartError
from judges.memory import GpuMemory
from judges.options import Options
from served import served

TESTS = Path(judges.__file__).parents[1]

# A card whose free memory is in a file: what others leave. What is taken of it is gone until it is given back.
_TORCH = """
import os
from types import SimpleNamespace

class OutOfMemoryError(RuntimeError):
    pass

held = []
uint8 = None

def _free(device=0):
    return int(float(open(os.environ["FREE_GIB"]).read()) * 2**30) - sum(map(len, held))

class _Tensor:
    def __init__(self, size):
        self.size = size
        held.append(range(size))

    def __del__(self):
        held.pop()

def empty(size, dtype, device):
    if size > _free():
        raise OutOfMemoryError()
    return _Tensor(size)

cuda = SimpleNamespace(
    device_count=lambda: int(os.environ.get("CARDS", "1")), mem_get_info=lambda device: (_free(), 0),
    empty_cache=lambda: None, OutOfMemoryError=OutOfMemoryError,
)
__version__ = "2.13.0"
"""


@pytest.fixture
def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says what the judge leaves."""
    (tmp_path / "torch.py").write_text(_TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FREE_GIB", str(tmp_path / "free"))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Card("GPU-a")))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "free").write_text("70")
    return tmp_path / "free"


@contextmanager
def gpu(tmp_path: Path, **options: Any) -> Iterator[GpuMemory]:
    """The memory under a judge that this Python would run."""
    made = GpuMemory(Options("vllm", work=tmp_path, **options), Gpus(1), tmp_path / "trainer.log")
    try:
        yield made
    finally:
        made.close()


def takes_what_was_free(gpu: GpuMemory, free: Path) -> None:
    """Whether it does, while a judge comes and goes."""
    gpu.measure()
    assert gpu.take()
    assert gpu.take()  # what it holds it gives back first
    gpu.give_back()
    free.write_text("10")  # the judge is awake
    assert not gpu.take()
    free.write_text("70")
    assert gpu.take()


def test_it_takes_what_was_free_while_the_judge_slept(free: Path, tmp_path: Path) -> None:
    with gpu(tmp_path) as memory:
        takes_what_was_free(memory, free)


def test_it_is_where_the_judge_is_in_a_container(free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="the Docker SDK is not installed (pip install docker)")
    engine = FakeDocker({"my/vllm:1": sys.executable})
    with served(engine.app) as url:
        monkeypatch.setenv("DOCKER_HOST", url.replace("http://", "tcp://"))
        # A Python that lacks what the image has.
        with gpu(tmp_path, docker=True, image="my/vllm", tag="1", python="/nowhere/python") as memory:
            takes_what_was_free(memory, free)
    (wanted,) = engine.was_asked_for
    assert wanted["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["GPU-a"]
    assert wanted["HostConfig"]["Binds"][0] == f"{TESTS}:{TESTS}:ro"
    assert not engine.created


def test_a_trainer_for_whom_nothing_is_left_has_no_room(free: Path, tmp_path: Path) -> None:
    free.write_text("0.5")  # less than its margin
    with gpu(tmp_path) as memory:
        memory.measure()
        assert not memory.take()


def test_one_that_sees_no_gpu_says_so(free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDS", "0")
    says = r"(?s)the trainer's process ended with exit code 1; .*torch 2\.13\.0 sees no GPU"
    with gpu(tmp_path) as memory, pytest.raises(StartError, match=says):
        memory.measure()


def test_without_torch_it_says_so(free: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    says = r"(?s)the trainer's process ended with exit code 1; .*no torch here"
    with gpu(tmp_path) as memory, pytest.raises(StartError, match=says):
        memory.measure()


def test_one_that_dies_meanwhile_is_missed(free: Path, tmp_path: Path) -> None:
    with gpu(tmp_path) as memory:
        memory.measure()
        free.unlink()
        with pytest.raises(StartError, match=r"(?s)the trainer's process ended with exit code 1; .*FileNotFoundError"):
            memory.take()
