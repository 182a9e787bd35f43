"""Solutions whose verdict is known, as data: a name, a problem, a solution and a label in each line of a file.

`gsm8k` holds word problems like GSM8K's, written for this project; `toy` the tiny judge's domain (see `tiny.domain`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from judges.launch import Judge

ENOUGH = 0.75
"""The share of the verdicts that a real model must get right. Of 32 cases, half of them right, that is 24: a judge that
guesses passes in 0.4 % of all runs, and one that errs on a tenth of them fails in 0.3 %."""


@dataclass(frozen=True, slots=True)
class Case:
    """A solution and what a judge should say of it."""

    name: str
    problem: str
    solution: str
    label: bool


def file_of(subject: str) -> Path:
    """The file with these cases; genrm takes it for canaries, the mock for what it knows."""
    return Path(__file__).with_name(f"{subject}.jsonl")


def load(subject: str) -> list[Case]:
    """The cases of a file."""
    return [Case(**json.loads(line)) for line in file_of(subject).read_text(encoding="utf-8").splitlines()]


def for_judge(judge: Judge) -> list[Case]:
    """Those that a judge can know: the tiny one its own domain, real models the other, the mock all of them."""
    if judge.is_tiny:
        return load("toy")
    return load("gsm8k") + (load("toy") if judge.kind.name.startswith("mock") else [])


def required(judge: Judge) -> float:
    """The share of its verdicts that must be right: all but a real model's."""
    return 1.0 if judge.is_tiny or judge.kind.name.startswith("mock") else ENOUGH
