"""How many requests fit to a run's rollouts, and rewards that are not the judge's."""

from __future__ import annotations

from typing import Any

import pytest

from rl import agreement, audit
from rl.curves import Row, Step
from tiny.domain import Problem

RIGHT, WRONG = "The answer is 7.", "The answer is 8."


def row(solution: str, score: float = 0.0, **record: Any) -> Row:
    """A rollout for 3+4."""
    return Row(Problem(3, 4), solution, score, {f"genrm_{key}": value for key, value in record.items()})


def test_without_records_requests_lie_between_different_samples_and_all() -> None:
    steps = [Step(1, [row(RIGHT), row(RIGHT), row(WRONG)]), Step(2, [row(RIGHT)])]

    assert audit.expected_requests(steps) == (3, 4)


def test_with_records_samples_that_were_asked_together_are_known() -> None:
    first, second = {"latency": 0.1, "attempts": 1}, {"latency": 0.2, "attempts": 2}
    steps = [Step(1, [row(RIGHT, **first), row(RIGHT, **first), row(RIGHT, **second), row(WRONG, **first)])]

    assert audit.expected_requests(steps) == (3, 4)


def test_empty_solutions_are_not_asked_about() -> None:
    assert audit.expected_requests([Step(1, [row(" "), row(RIGHT)])]) == (1, 1)


@pytest.mark.parametrize(("asked", "fits"), [(1, False), (2, True), (3, True), (4, False), (0, False)])
def test_a_count_that_does_not_fit_is_told(asked: int, fits: bool) -> None:
    steps = [Step(1, [row(RIGHT), row(RIGHT), row(WRONG)])]

    assert (audit.complaints_of_requests(steps, asked) == []) is fits


@pytest.mark.parametrize(
    ("rows", "fits"),
    [
        ([row(RIGHT, 1.0), row(WRONG, 0.0), row("", 0.0)], True),
        ([row(RIGHT, 0.0)], False),
        ([row(WRONG, 1.0)], False),
        ([row("", 1.0)], False),
        ([row(RIGHT, 0.5)], False),
    ],
)
def test_a_reward_that_is_not_the_judges_is_told(rows: list[Row], fits: bool) -> None:
    said = {("What is 3+4?", RIGHT): 1.0, ("What is 3+4?", WRONG): 0.0}

    assert (audit.complaints_of_rewards([Step(1, rows)], said) == []) is fits


@pytest.mark.parametrize(
    ("bad", "told"),
    [(row(RIGHT, 1.0), False), (row(WRONG, -1.0), True), (row(WRONG, 0.0, fallback=1), True), (row(WRONG, 0.5), True)],
)
def test_a_reward_without_a_verdict_is_told(bad: Row, told: bool) -> None:
    assert bool(audit.complaints_of_fallbacks([Step(1, [row(RIGHT, 1.0), bad])])) is told


@pytest.mark.parametrize(
    ("faulty", "planned", "fits"),
    [(20, 0.2, True), (16, 0.2, True), (10, 0.2, False), (0, 0.2, False), (1, 0.0, False)],
)
def test_faults_that_were_not_planned_are_told(faulty: int, planned: float, fits: bool) -> None:
    assert (audit.complaints_of_faults(faulty, 100, planned) == []) is fits


def test_two_servers_that_know_nothing_agree_in_vain() -> None:
    nothing = dict.fromkeys(agreement.questions(), -1.0)

    found = agreement.compare({"vllm": nothing, "hf": nothing}).complaints()

    assert found == [f"{name} has 0 of 1900 right, and 98% are wanted" for name in ("vllm", "hf")]


def test_two_servers_are_compared_case_by_case() -> None:
    truth = {q: float(q[1] == f"The answer is {eval_sum(q[0])}.") for q in agreement.questions()}
    other = {**truth, ("What is 3+4?", WRONG): -1.0}

    result = agreement.compare({"vllm": truth, "hf": other})

    assert result.cases == 1900
    assert result.different == [("What is 3+4?", WRONG)]
    assert result.right == {"vllm": 1900, "hf": 1899}
    assert result.complaints() == ["1 verdicts differ, such as that on What is 3+4? The answer is 8."]


def eval_sum(problem: str) -> int:
    """The answer to one of our problems, from its text alone."""
    a, _, b = problem.removeprefix("What is ").removesuffix("?").partition("+")
    return int(a) + int(b)
