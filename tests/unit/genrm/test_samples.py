"""Samples: what verl hands over, in whatever dress."""

from __future__ import annotations

from typing import Any

import pytest

from genrm import Sample, SampleError


class NumpyLike:
    """What numpy's scalars and arrays have in common."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("extra_info", "problem"),
    [
        ({"question": "Q", "problem": "P"}, "Q"),
        ({"question": "  ", "problem": "P"}, "P"),
        ({"prompt": "P"}, "P"),
        ({"question": NumpyLike("Q")}, "Q"),
        ({"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]}, "U"),
        ({"prompt": NumpyLike([{"role": "user", "content": [{"type": "text", "content": "U"}]}])}, "U"),
        ({"prompt": [{"content": "A"}, {"role": "user", "content": "B"}]}, "A\n\nB"),
    ],
)
def test_problem(extra_info: dict[str, Any], problem: str) -> None:
    assert Sample.from_verl("d", "s", "1", extra_info).problem == problem


@pytest.mark.parametrize(
    ("extra_info", "there"),
    [({}, "no keys at all"), ({"index": 3, "split": "train"}, "index, split"), (None, "no keys")],
)
def test_a_missing_problem_names_the_keys_that_are_there(extra_info: Any, there: str) -> None:
    with pytest.raises(SampleError, match=f"looked for question, problem, prompt, found {there}"):
        _ = Sample.from_verl("d", "s", "1", extra_info).problem


def test_wrong_types_are_named() -> None:
    with pytest.raises(SampleError, match="solution_str must be a str, but is NoneType"):
        Sample.from_verl("d", None, "1", {})
    with pytest.raises(SampleError, match="extra_info must be a dict, but is list"):
        Sample.from_verl("d", "s", "1", [])


@pytest.mark.parametrize(
    ("ground_truth", "reference"),
    [
        (None, ""),
        (18, "18"),
        (" 18 ", "18"),
        (NumpyLike(18), "18"),
        (["a", "b"], "a or b"),
        ({"ground_truth": "7"}, "7"),
        (0, "0"),
        ({}, ""),
    ],
)
def test_reference(ground_truth: Any, reference: str) -> None:
    assert Sample.from_verl("d", "s", ground_truth, {}).reference == reference


@pytest.mark.parametrize(
    ("ground_truth", "answers", "has_truth"),
    [
        (["a", " b ", ""], ("a", "b"), True),
        (NumpyLike(["4", "four"]), ("4", "four"), True),
        ([{"role": "user", "content": "one"}, {"role": "user", "content": "text"}], ("one\n\ntext",), True),
        ({"target": ["4"]}, (), True),  # a form of its own, which verl's rule for that data set reads
        ("4", ("4",), True),
        (0, ("0",), True),
        ("  ", (), False),
        (None, (), False),
    ],
)
def test_several_answers(ground_truth: Any, answers: tuple[str, ...], has_truth: bool) -> None:
    sample = Sample("s", ground_truth)
    assert (sample.answers, sample.has_truth) == (answers, has_truth)


@pytest.mark.parametrize(
    ("split", "validation"), [("test", True), ("VAL", True), (NumpyLike("val"), True), ("train", False), (None, False)]
)
def test_split(split: Any, validation: bool) -> None:
    assert Sample.from_verl("d", "s", "1", {"split": split}).is_validation is validation


@pytest.mark.parametrize(("solution", "empty"), [("", True), (" \n", True), ("\u200b\ufeff ", True), (".", False)])
def test_empty(solution: str, empty: bool) -> None:
    assert Sample(solution).is_empty is empty


def test_a_missing_data_source_is_no_text() -> None:
    assert Sample.from_verl(None, "s", "1", {}).data_source == ""
