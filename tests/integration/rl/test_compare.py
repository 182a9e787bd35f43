"""A run of a comparison that fails does not keep the others from being told of. verl's runs are played here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from rl import experiments
from rl.command import Plan
from rl.curves import Row, Step
from rl.judging import RunningJudge
from rl.lab import Lab
from rl.plots import Line
from tiny.domain import Problem

STEPS = 3


class PlayedLab(Lab):
    """Its runs have three steps, but one that breaks off after the first."""

    def plan(self, name: str, trainer: str, seed: int, judge: RunningJudge) -> Plan:
        return Plan(self.work / name, self.work, seed=seed, steps=STEPS, trainer=trainer)

    def run(
        self, name: str, plan: Plan, judge: RunningJudge, examine: Callable[[Sequence[Step], int], list[str]]
    ) -> tuple[list[Step], list[str]]:
        steps = [Step(number, [Row(Problem(3, 4), "7", 1.0, {})]) for number in range(1, plan.steps + 1)]
        return (steps[:1], [f"{name}: verl has ended"]) if name == "left-out-v0-seed1" else (steps, [])

    def draw(self, title: str, lines: Sequence[Line], file: str) -> None:
        DRAWN.append([(line.name, len(line.steps)) for line in lines])


DRAWN: list[list[tuple[str, int]]] = []


def test_a_run_that_breaks_off_is_told_and_not_drawn(tmp_path: Path) -> None:
    DRAWN.clear()
    lab = PlayedLab(Console(quiet=True), [], "", ["v0"], [0, 1], STEPS, tmp_path)

    assert experiments.compare(lab) == ["left-out-v0-seed1: verl has ended"]
    assert DRAWN[-1] == [("no faults", STEPS), ("paid as zeros", STEPS), ("left out", STEPS)]
