"""The toy domain: what is right in it, and that nothing held out is ever learned from."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrm.verdicts import parse_verdict
from tiny import domain
from tiny.domain import FORMS, Case, Problem, Triple
from tiny.tokens import fixed_pieces, judge_messages

SEVEN = Problem(3, 4)


def test_all_of_it_can_be_listed() -> None:
    assert len(domain.problems()) == 100
    assert len(domain.triples()) == 1900
    assert sum(triple.is_right for triple in domain.triples()) == 100


@pytest.mark.parametrize("form", FORMS)
def test_a_solution_of_any_form_is_scored_by_its_number(form: str) -> None:
    assert domain.rule_score(SEVEN, SEVEN.solution(7, form)) == 1.0
    assert domain.rule_score(SEVEN, SEVEN.solution(8, form)) == 0.0


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "7 or 8",
        "The answer is 7",
        "The answer is 07.",
        "3+4=8. The answer is 7.",
        "4+3=7",
        "The answer is ٧.",
        "7\n",
    ],
)
def test_what_has_no_form_is_wrong(solution: str) -> None:
    assert domain.rule_score(SEVEN, solution) == 0.0


def test_a_tenth_of_the_right_and_of_the_wrong_triples_is_held_out() -> None:
    assert Counter(triple.is_right for triple in domain.held_out()) == {True: 10, False: 180}
    assert domain.held_out() == domain.held_out()


def test_the_held_out_cases_are_all_the_held_out_triples() -> None:
    cases = domain.held_out_cases()

    assert {Triple(case.problem, int(case.stated or -1)) for case in cases} == domain.held_out()
    assert 0.4 < sum(case.is_right for case in cases) / len(cases) < 0.6


@given(st.integers(0, 2**32))
def test_nothing_held_out_is_learned_from(seed: int) -> None:
    held = {(triple.problem, str(triple.number)) for triple in domain.held_out()}

    for case in islice(domain.training_cases(Random(seed)), 300):
        assert (case.problem, case.stated) not in held


@given(st.integers(0, 2**32))
def test_what_the_judge_is_taught_to_say_is_read_as_the_truth(seed: int) -> None:
    for case in islice(domain.training_cases(Random(seed)), 100):
        assert parse_verdict(case.reply).value is case.is_right


def test_the_cases_are_right_and_wrong_and_garbage() -> None:
    cases = list(islice(domain.training_cases(Random(0)), 2000))

    assert 0.4 < sum(case.is_right for case in cases) / len(cases) < 0.5
    assert {form for form in FORMS for case in cases if case.solution == case.problem.solution(case.stated, form)} == {
        *FORMS
    }
    assert 0.05 < sum(case.stated is None for case in cases) / len(cases) < 0.2


def test_the_pieces_of_the_prompt_are_those_that_genrm_renders() -> None:
    before, between, after = fixed_pieces()
    case = Case(SEVEN, "The answer is \\boxed{7}.")
    (message,) = judge_messages(case.problem.text, case.solution)

    assert message["content"] == f"{before}What is 3+4?{between}The answer is \\¦boxed{{7}}.{after}"
