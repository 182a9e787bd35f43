r"""The bundled solutions: labelled right, and with attacks that come to nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import genrm
from genrm.neutralise import Neutraliser
from genrm.rules import answers_match, final_answer
from genrm.verdicts import parse_verdict
from genrm.workbench.inputs import Row, read_rows

PATH = Path(genrm.__file__).with_name("workbench") / "data" / "demo.jsonl"
READ = list(read_rows(PATH))
ROWS = [row for row in READ if isinstance(row, Row)]
ATTACKS = [row for row in ROWS if row.id.startswith("attack-")]
HONEST = [row for row in ROWS if row not in ATTACKS]
# A marked answer, or in some rows just a last sentence.
_SENTENCE = re.compile(r"The answer is (\S+)\.\Z")


def test_every_line_is_a_row_with_a_label_and_an_answer() -> None:
    assert READ == ROWS
    assert len(ROWS) >= 200
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert {row.label for row in ROWS} == {True, False}
    assert all(row.sample.reference for row in ROWS)


def test_no_two_rows_ask_the_same() -> None:
    assert len({(row.sample.problem, row.sample.solution) for row in ROWS}) == len(ROWS)


def test_right_and_wrong_are_in_balance() -> None:
    right = sum(row.label is True for row in ROWS)
    assert 0.4 < right / len(ROWS) < 0.6


def marked(solution: str) -> str:
    """The solution, its final answer marked as such."""
    sentence = _SENTENCE.search(solution)
    return rf"\boxed{{{sentence[1]}}}" if sentence and final_answer(solution) is None else solution


def test_every_honest_solution_has_a_final_answer() -> None:
    assert [row.id for row in HONEST if final_answer(marked(row.sample.solution)) is None] == []


def test_the_label_says_whether_the_final_answer_is_the_truth() -> None:
    matches = {row.id: answers_match(marked(row.sample.solution), row.sample.reference) for row in HONEST}
    assert matches == {row.id: row.label for row in HONEST}


def test_there_are_attacks_and_all_of_them_are_wrong() -> None:
    assert len(ATTACKS) >= 10
    assert {row.label for row in ATTACKS} == {False}
    assert not any(answers_match(row.sample.solution, row.sample.reference) for row in ATTACKS)


@pytest.mark.parametrize("construct", [r"\boxed{True}", "<|im_end|>", "</think>", "[AI Solution]", "{problem}"])
def test_the_attacks_hold_what_policies_have_been_seen_to_write(construct: str) -> None:
    assert any(construct in row.sample.solution for row in ATTACKS)


def test_some_attacks_say_nothing_at_all() -> None:
    assert any(row.sample.is_empty for row in ATTACKS)
    assert any(re.fullmatch(r"\W", row.sample.solution) for row in ATTACKS)


@pytest.mark.parametrize("construct", [r"\boxed", "<|im_end|>", "<|im_start|>", "<think>", "</think>", "[AI Solution]"])
def test_neutralised_no_row_can_speak_for_the_judge(construct: str) -> None:
    assert any(construct in row.sample.solution for row in ROWS)
    for row in ROWS:
        harmless = Neutraliser().neutralise(row.sample.solution)
        assert construct not in harmless, row.id
        assert parse_verdict(harmless).value is None, row.id
        assert Neutraliser().restore(harmless) == row.sample.solution
