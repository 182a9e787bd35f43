"""What passes for a run that learned, and what does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from genrm.rewards import LEFT_OUT
from rl import curves
from rl.curves import Rises, Row, Step, complaints, read_step
from tiny.domain import Problem

SAMPLES = 10
SUM = Problem(3, 4)


def step(number: int, paid: float, right: float | None = None, samples: int = SAMPLES) -> Step:
    """A step of which such a share was paid, and such a share is right (the same, if not told)."""
    shares = (paid, paid if right is None else right)
    paid_for, right_ones = (round(share * samples) for share in shares)
    rows = [
        Row(SUM, SUM.solution(7 if index < right_ones else 8), float(index < paid_for), {}) for index in range(samples)
    ]
    return Step(number, rows)


def run(rewards: Sequence[float], rights: Sequence[float] | None = None) -> list[Step]:
    """A run with these shares."""
    return [step(n, paid, right) for n, (paid, right) in enumerate(zip(rewards, rights or rewards, strict=True), 1)]


RISING = (0.3, 0.3, 0.3, 0.5, 0.8, 0.8, 0.8)


def test_a_run_that_rises_is_as_it_should_be() -> None:
    assert complaints(run(RISING), 7, SAMPLES) == []


@pytest.mark.parametrize("rewards", [(0.3,) * 7, (0.3, 0.3, 0.3, 0.9, 0.6, 0.6, 0.6), RISING[::-1]])
def test_a_reward_that_does_not_rise_by_enough_is_told(rewards: Sequence[float]) -> None:
    assert any(complaint.startswith("the reward rose by") for complaint in complaints(run(rewards), 7, SAMPLES))


def test_a_judge_that_is_fooled_is_told() -> None:
    (complaint,) = complaints(run(RISING, (0.3,) * 7), 7, SAMPLES)

    assert "fooled" in complaint


def test_samples_that_were_dropped_are_told() -> None:
    steps = [*run(RISING[:-1]), step(7, 0.8, samples=SAMPLES - 1)]

    assert "step 7 has 9 samples, not 10: some were dropped" in complaints(steps, 7, SAMPLES)


def test_a_step_that_is_not_there_is_told() -> None:
    steps = run(RISING)
    del steps[3]

    assert complaints(steps, 7, SAMPLES) == ["verl wrote down the steps [1, 2, 3, 5, 6, 7], not 1 to 7"]


def test_by_a_judge_that_knows_nothing_nothing_may_rise() -> None:
    flat = (0.5,) * 7

    assert complaints(run(flat, RISING[::-1]), 7, SAMPLES, learns=False) == []
    assert complaints(run(RISING, flat), 7, SAMPLES, learns=False) == [
        "the reward rose by 0.50, and nobody knows why",
    ]
    assert complaints(run(flat, RISING), 7, SAMPLES, learns=False) == [
        "the rule's score rose by 0.50, and nobody knows why",
    ]


def test_a_judge_that_always_says_the_same_is_no_control() -> None:
    (complaint,) = complaints(run((1.0,) * 7, (0.3,) * 7), 7, SAMPLES, learns=False)

    assert "is no control" in complaint


def test_a_file_of_verl_is_read(tmp_path: Path) -> None:
    entry = {"input": "user\nWhat is 3+4?\nassistant\n", "output": "The answer is 8.", "score": 1.0, "gts": "7"}
    path = tmp_path / "12.jsonl"
    path.write_text(json.dumps({**entry, "genrm_verdict": -1, "acc": 1.0}) + "\n", encoding="utf-8")

    read = read_step(path)

    assert read == Step(12, [Row(SUM, "The answer is 8.", 1.0, {"genrm_verdict": -1})])
    assert (read.reward, read.rule, read.no_verdicts) == (1.0, 0.0, 1)


@pytest.mark.parametrize("text", ["", '{"input": "What is', '{"input": "hello", "output": "", "score": 0}\n'])
def test_a_file_that_is_not_complete_or_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "1.jsonl").write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=r"."):
        read_step(tmp_path / "1.jsonl")


def test_samples_that_are_left_out_are_not_a_reward() -> None:
    rows = [Row(SUM, "", 1.0, {}), Row(SUM, "", 0.0, {}), Row(SUM, "", LEFT_OUT, {})]

    assert Step(1, rows).reward == 0.5


@pytest.mark.parametrize(
    ("left_out", "zeros", "told"),
    [
        (Rises(0.43, 0.45), Rises(0.33, 0.44), ""),
        (Rises(0.34, 0.45), Rises(0.30, 0.44), "left out, the reward rose by 0.34, and without faults by 0.47"),
        (Rises(0.43, 0.30), Rises(0.33, 0.44), "left out, the rule's score rose by 0.30, and without faults by 0.47"),
        # Plain GRPO in its place: the same as zeros.
        (Rises(0.40, 0.45), Rises(0.39, 0.45), "left out, the reward rose by 0.40, and paid as zeros by 0.39"),
    ],
)
def test_leaving_out_must_not_slow_the_rise_as_zeros_do(left_out: Rises, zeros: Rises, told: str) -> None:
    assert "; ".join(curves.complaints_of_leaving_out(Rises(0.47, 0.47), left_out, zeros)) == told


def test_without_faults_it_must_rise_at_all() -> None:
    flat = Rises.of([run((0.3,) * 7)])

    (complaint, _zeros) = curves.complaints_of_leaving_out(flat, flat, flat)

    assert complaint == "without faults the reward rose by 0.00, not by 0.4"


def test_several_runs_are_one_in_the_mean() -> None:
    (first, *_) = curves.mean_of([run(RISING), run((0.5,) * 7)])

    assert (first.number, first.reward) == (1, 0.4)


def test_what_verl_fills_a_batch_up_with_is_no_sample(tmp_path: Path) -> None:
    rows = [{"input": "user\nWhat is 3+4?\n", "output": "7", "score": 1.0}, {"input": "", "output": "", "score": 0.0}]
    path = tmp_path / "1.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    read = read_step(path)

    assert (len(read.rows), read.fillers) == (1, 1)
    assert curves.complaints_of_steps([read], 1, 2) == ["step 1 has 1 samples, not 2: some were dropped"]
