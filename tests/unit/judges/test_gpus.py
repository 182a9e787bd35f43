"""Which GPUs a judge is on, and that nobody looks at others."""

from __future__ import annotations

import sys

import pytest

from fake_nvml import Card, FakeNvml
from judges.gpus import Gpus, left_by

UUIDS = ["GPU-aa11", "GPU-ab22", "GPU-cc33"]


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("2,0", ["2", "0"]),
        (" 1 ", ["1"]),
        ("0,-1,2", ["0"]),  # as CUDA does
        ("1,7,0", ["1"]),
        ("GPU-cc33,GPU-aa11", ["GPU-cc33", "GPU-aa11"]),
        ("GPU-ab", ["GPU-ab"]),
        ("GPU-zz,0", []),
        ("MIG-1234", ["MIG-1234"]),
        ("NoDevFiles", []),
    ],
)
def test_what_a_variable_leaves(variable: str | None, names: list[str]) -> None:
    assert left_by(variable, UUIDS) == names


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    """Three GPUs."""
    made = [Card(uuid, total=80.0 - index, used=float(index)) for index, uuid in enumerate(UUIDS)]
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*made))
    return made


def test_the_first_that_are_left_are_the_judges(cards: list[Card], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-ab,0")
    gpus = Gpus(2)
    assert gpus.environment == {"CUDA_VISIBLE_DEVICES": "2,GPU-ab", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert gpus.uuids == ["GPU-cc33", "GPU-ab22"]
    assert gpus.smallest() == 78.0
    assert gpus.used() == 3.0
    cards[0].used = 70.0  # somebody else's
    assert gpus.used() == 3.0
    cards[1].used += 0.5
    assert gpus.used() == 3.5


def test_there_may_be_fewer_than_asked_for(cards: list[Card], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Gpus(8).names == ["0", "1", "2"]
