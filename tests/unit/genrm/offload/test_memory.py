"""What NVML is asked, and that a driver without a GPU is no GPU."""

from __future__ import annotations

import sys

import pytest

from fake_nvml import Card, FakeNvml
from genrm.offload.memory import open_probe

HERE = ["http://127.0.0.1:8000"]


def test_all_gpus_count_whichever_this_process_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Card("GPU-a", used=10), Card("GPU-b", used=2.5)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as in Ray's workers that compute nothing
    probe = open_probe(HERE)
    assert probe is not None
    assert probe.used() == 12.5


def test_a_driver_without_a_gpu_says_nothing_of_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert open_probe(HERE) is None


def test_a_judge_elsewhere_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Card("GPU-a")))
    assert open_probe([*HERE, "http://10.0.0.1:8000"]) is None
