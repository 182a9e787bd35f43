"""The trainer that takes GPU memory, as a real process, with a stand-in for torch that counts bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from judges import memory
from judges.host import StartError
from judges.memory import GpuMemory

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
    device_count=lambda: 1, mem_get_info=lambda device: (_free(), 0), empty_cache=lambda: None,
    OutOfMemoryError=OutOfMemoryError,
)
"""


@pytest.fixture
def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says what the judge leaves."""
    (tmp_path / "torch.py").write_text(_TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FREE_GIB", str(tmp_path / "free"))
    monkeypatch.setattr(memory, "NvmlProbe", lambda: None)
    return tmp_path / "free"


def test_it_takes_what_was_free_while_the_judge_slept(free: Path) -> None:
    free.write_text("70")
    gpu = GpuMemory(sys.executable)
    try:
        gpu.measure()
        assert gpu.take()
        assert gpu.take()  # what it holds it gives back first
        gpu.give_back()
        free.write_text("10")  # the judge is awake
        assert not gpu.take()
        free.write_text("70")
        assert gpu.take()
    finally:
        gpu.close()


def test_without_torch_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(memory, "NvmlProbe", lambda: None)
    with pytest.raises(StartError, match="the trainer's process ended with code 1"):
        GpuMemory(sys.executable).measure()
