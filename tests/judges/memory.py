"""The GPU memory under a judge, by NVML or as the mock's simulated GPUs say, and a trainer that takes the rest."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Protocol, TextIO

import httpx

from judges.gpus import Gpus
from judges.host import Host, StartError
from judges.launch import Judge, host_of
from judges.log_view import last_lines
from judges.options import Options
from judges.programs import Program

MARGIN_GIB = 1.0
"""What a trainer leaves free beside a sleeping judge. A judge that is awake needs more than that."""
PATIENCE = 300.0
"""Seconds until the trainer's process is there (it loads torch), and has answered."""
_LAST_WORDS_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_TESTS = Path(__file__).parents[1]


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
    if judge.gpus:
        return GpuMemory(judge.options, judge.gpus, judge.log.with_suffix(".trainer.log"))
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
    """The cards of this machine that a judge is on. The trainer is a process that takes memory by torch, run as the
    judge is: by its Python, or in a container of its image.

    Args:
        options: the judge's.
        gpus: that it is on.
        log: the file for what the trainer's process writes.
    """

    def __init__(self, options: Options, gpus: Gpus, log: Path) -> None:
        self._options = options
        self._gpus = gpus
        self._log = log
        self._hog: Host | None = None
        self._lines: TextIO | None = None

    def used(self) -> float:
        """As `Memory.used`."""
        return self._gpus.used()

    def measure(self) -> None:
        """As `Memory.measure`. Raises StartError where no memory can be taken here."""
        if self._hog is None:
            self._start()
        self._tell("measure")

    def take(self) -> bool:
        """As `Memory.take`."""
        return self._tell("take")

    def give_back(self) -> None:
        """As `Memory.give_back`."""
        self._tell("give")

    def close(self) -> None:
        """As `Memory.close`."""
        hog, self._hog = self._hog, None
        lines, self._lines = self._lines, None
        if lines is not None:
            with suppress(OSError):
                lines.close()
        if hog is not None:
            hog.stop()

    def _start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.settimeout(_LOOK_SECONDS)
            path = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])
            command = [self._options.python, "-m", "judges.memory_hog", str(MARGIN_GIB), str(door.getsockname()[1])]
            program = Program(command, {"PYTHONPATH": path}, reads=[_TESTS])
            hog = host_of(self._options, program, self._log, self._gpus)
            hog.start()
            self._hog = hog
            deadline = time.monotonic() + PATIENCE
            while self._lines is None:
                with suppress(TimeoutError):
                    connection, _ = door.accept()
                    connection.settimeout(PATIENCE)
                    with connection:  # the file keeps it open
                        self._lines = connection.makefile("rw")
                if self._lines is None and (hog.ended() or time.monotonic() > deadline):
                    self._fail("does not come")

    def _tell(self, what: str) -> bool:
        assert self._lines is not None, "measure() comes first"
        answer = ""
        with suppress(OSError):  # it has gone, or does not answer
            self._lines.write(f"{what}\n")
            self._lines.flush()
            answer = self._lines.readline().strip()
        if not answer:
            self._fail(f"does not answer to {what!r}")
        return answer == "ok"

    def _fail(self, how: str) -> NoReturn:
        assert self._hog is not None
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while (ended := self._hog.ended()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        self.close()
        raise StartError(
            f"the trainer's process {ended or how}; its log {self._log} ends with\n{last_lines(self._log)}"
        )
