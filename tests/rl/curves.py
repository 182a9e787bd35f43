"""What a run's rollouts say: the rewards step by step, and whether they rise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from genrm.rewards import LEFT_OUT
from tiny import domain

END_STEPS = 3
"""So many steps at each end are averaged."""
RISE = 0.4
"""By so much the judge's rewards must be higher at the end than at the beginning."""
RULE_RISE = 0.3
"""And the rule's, which nobody paid for."""
SLOWED = 0.1
"""By no more may a rise be smaller where samples without verdict are left out."""
BETTER = 0.03
"""And by so much the reward must rise more than where they are paid as zeros."""
STILL = 0.15
"""A run whose judge knows nothing must not rise by more, neither by its own rewards nor by the rule. By chance they
move by 0.03, and it may say True somewhat more often to what a policy writes that has lost its way."""
UNDECIDED = (0.2, 0.8)
"""Such a judge's mean reward: one that says nearly always the same moves nothing, and shows nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rollout, as verl wrote it down."""

    problem: domain.Problem
    solution: str
    score: float
    record: dict[str, Any]
    """genrm's record; empty from the V1 trainer, which does not write it down."""

    @property
    def rule(self) -> float:
        """What the rule says, whoever paid."""
        return domain.rule_score(self.problem, self.solution)

    @property
    def has_no_verdict(self) -> bool:
        """Whether the judge was asked in vain. Never known of the V1 trainer's rows."""
        return self.record.get("genrm_verdict") == -1


@dataclass(frozen=True)
class Step:
    """One step's rollouts."""

    number: int
    rows: Sequence[Row]
    fillers: int = 0
    """Lines without a problem: the V1 trainer fills a batch that has lost samples up with empty ones."""

    @cached_property
    def reward(self) -> float:
        """The mean of what was paid; samples that are left out (`genrm.rewards.LEFT_OUT`) were paid nothing."""
        return fmean(row.score for row in self.rows if row.score != LEFT_OUT)

    @cached_property
    def rule(self) -> float:
        """The mean of the rule's scores."""
        return fmean(row.rule for row in self.rows)

    @property
    def no_verdicts(self) -> int:
        """How often the judge was asked in vain."""
        return sum(row.has_no_verdict for row in self.rows)


def read_step(path: Path) -> Step:
    """A file of verl's rollout_data_dir.

    Raises:
        ValueError: it is not complete yet.
    """
    rows = [_row(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    if not any(rows):
        raise ValueError(f"{path} holds no samples")
    return Step(int(path.stem), [row for row in rows if row], rows.count(None))


def _row(entry: dict[str, Any]) -> Row | None:
    problem = next((p for p in domain.problems() if p.text in entry["input"]), None)
    if problem is None:
        return None
    record = {key: value for key, value in entry.items() if key.startswith("genrm_")}
    return Row(problem, entry["output"], float(entry["score"]), record)


def rise(values: Sequence[float]) -> float:
    """How much higher the last steps' mean is than the first ones'."""
    return fmean(values[-END_STEPS:]) - fmean(values[:END_STEPS])


def complaints(steps: Sequence[Step], wanted_steps: int, samples: int, *, learns: bool = True) -> list[str]:
    """What is wrong with a run, in words; empty where nothing is.

    Args:
        steps: what it did, in order.
        wanted_steps, samples: how many there should be, and of how many rollouts each.
        learns: whether it should; False for a judge that knows nothing.
    """
    found = complaints_of_steps(steps, wanted_steps, samples)
    if len(steps) < wanted_steps:
        return found
    paid, by_rule = rise([step.reward for step in steps]), rise([step.rule for step in steps])
    if not learns:
        return found + _complaints_of_control(fmean(step.reward for step in steps), paid, by_rule)
    if paid < RISE:
        found.append(f"the reward rose by {paid:.2f}, not by {RISE}")
    if by_rule < RULE_RISE:
        found.append(f"the rule's own score rose by {by_rule:.2f}, not by {RULE_RISE}: the judge is being fooled")
    return found


def complaints_of_steps(steps: Sequence[Step], wanted_steps: int, samples: int) -> list[str]:
    """Steps that are not there, and samples that were dropped."""
    if [step.number for step in steps] != list(range(1, wanted_steps + 1)):
        return [f"verl wrote down the steps {[step.number for step in steps]}, not 1 to {wanted_steps}"]
    return [
        f"step {step.number} has {len(step.rows)} samples, not {samples}: some were dropped"
        for step in steps
        if len(step.rows) != samples
    ]


def _complaints_of_control(mean: float, paid: float, by_rule: float) -> list[str]:
    low, high = UNDECIDED
    found = [
        f"{what} rose by {rose:.2f}, and nobody knows why"
        for what, rose in (("the reward", paid), ("the rule's score", by_rule))
        if rose > STILL
    ]
    if not low <= mean <= high:
        found.append(f"the mean reward was {mean:.2f}: a judge that nearly always says the same is no control")
    return found


def mean_of(runs: Sequence[Sequence[Step]]) -> list[Step]:
    """Several runs as one: their rollouts step by step."""
    return [Step(steps[0].number, [row for step in steps for row in step.rows]) for steps in zip(*runs, strict=True)]


@dataclass(frozen=True, slots=True)
class Rises:
    """How much some runs rose, in the mean: by what was paid, and by the rule."""

    paid: float
    rule: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[Step]]) -> Rises:
        """Those of runs with several seeds."""
        return cls(
            fmean(rise([step.reward for step in steps]) for steps in runs),
            fmean(rise([step.rule for step in steps]) for steps in runs),
        )


def complaints_of_leaving_out(no_faults: Rises, left_out: Rises, zeros: Rises) -> list[str]:
    """What is wrong with leaving samples without verdict out, beside runs without faults and paying them zeros."""
    found = [
        f"left out, {what} rose by {left:.2f}, and without faults by {whole:.2f}"
        for what, left, whole in (
            ("the reward", left_out.paid, no_faults.paid),
            ("the rule's score", left_out.rule, no_faults.rule),
        )
        if left < whole - SLOWED
    ]
    if no_faults.paid < RISE:
        found.append(f"without faults the reward rose by {no_faults.paid:.2f}, not by {RISE}")
    if left_out.paid < zeros.paid + BETTER:
        found.append(f"left out, the reward rose by {left_out.paid:.2f}, and paid as zeros by {zeros.paid:.2f}")
    return found
