"""The GPU memory under a judge, by NVML or as the mock's simulated GPUs say, and a trainer that takes the rest."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import httpx

from genrm.offload.memory import NvmlProbe
from judges.launch import Judge

MARGIN_GIB = 1.0
"""What a trainer leaves free beside a sleeping judge. A judge that is awake needs more than that."""
_HOG = Path(__file__).with_name("memory_hog.py")


class Memory(Protocol):
    """The memory of all GPUs that a judge is on."""

    def used(self) -> float:
        """GiB in use by anybody."""

    def measure(self) -> None:
        """Note what is free now, while the judge sleeps."""

    def take(self) -> bool:
        """Take as much as was free then, less a margin, as a trainer. Whether there was room."""

    def give_back(self) -> None:
        """Give back what was taken."""

    def close(self) -> None:
        """End what takes memory."""


def of(judge: Judge) -> Memory | None:
    """The memory under that judge; None where there is no GPU, not even a simulated one."""
    if judge.kind.gpu:
        return GpuMemory(judge.options.python)
    if judge.kind.name.startswith("mock"):
        return SimulatedMemory(judge.workers())
    return None


class SimulatedMemory:
    """The cards of mocks with --gpu-semantics. The trainer is a claim by their control API."""

    def __init__(self, workers: Sequence[str]) -> None:
        self._cards = [f"{url}/_mock/gpu" for url in workers]
        self._free: list[float] = []

    def used(self) -> float:
        """As `Memory.used`."""
        return sum(card["total"] - card["free"] for card in self._look())

    def measure(self) -> None:
        """As `Memory.measure`."""
        self._free = [card["free"] for card in self._look()]

    def take(self) -> bool:
        """As `Memory.take`."""
        taken = [self._claim(card, free - MARGIN_GIB) for card, free in zip(self._cards, self._free, strict=True)]
        return all(taken)

    def give_back(self) -> None:
        """As `Memory.give_back`."""
        for card in self._cards:
            self._claim(card, 0.0)

    def close(self) -> None:
        """As `Memory.close`."""
        self.give_back()

    def _look(self) -> list[dict[str, float]]:
        return [httpx.get(card, trust_env=False).raise_for_status().json() for card in self._cards]

    def _claim(self, card: str, gib: float) -> bool:
        claims = {"trainer": gib} if gib else {}
        return httpx.put(card, json={"claims": claims}, trust_env=False).status_code == 200


class GpuMemory:
    """The cards of this machine. The trainer is a process that takes memory by torch.

    Args:
        python: one that has torch.
    """

    def __init__(self, python: str) -> None:
        self._probe = NvmlProbe()
        self._python = python
        self._hog: subprocess.Popen[str] | None = None

    def used(self) -> float:
        """As `Memory.used`."""
        return self._probe.used()

    def measure(self) -> None:
        """As `Memory.measure`."""
        if self._hog is None:
            command = [self._python, str(_HOG), str(MARGIN_GIB)]
            self._hog = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._answer()
        self._tell("measure")

    def take(self) -> bool:
        """As `Memory.take`."""
        return self._tell("take")

    def give_back(self) -> None:
        """As `Memory.give_back`."""
        self._tell("give")

    def close(self) -> None:
        """As `Memory.close`."""
        if self._hog is not None:
            self._hog.communicate()
            self._hog = None

    def _tell(self, what: str) -> bool:
        assert self._hog is not None, "measure() comes first"
        assert self._hog.stdin is not None
        self._hog.stdin.write(f"{what}\n")
        self._hog.stdin.flush()
        return self._answer()

    def _answer(self) -> bool:
        assert self._hog is not None
        assert self._hog.stdout is not None
        answer = self._hog.stdout.readline().strip()
        assert answer, f"the trainer's process ended with code {self._hog.wait()}; its stderr is above"
        return answer == "ok"
