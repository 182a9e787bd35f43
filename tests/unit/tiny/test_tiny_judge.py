"""A judge that learned too little is not kept; the training itself is played."""

from __future__ import annotations

from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tiny import judge, policy
from tiny.judge import Grade
from tiny.shelf import NotGoodEnoughError, get_judge, get_policy


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many of 100 held-out cases the next judge will have right."""
    right = [100]

    def train(folder: Path, **_: Any) -> None:
        (folder / "weights").write_text("w")

    monkeypatch.setattr(judge, "train", train)
    monkeypatch.setattr(judge, "grade", lambda _folder, _cases: Grade(100, right[0], 0))
    return right


@pytest.mark.parametrize("right", [98, 100])
def test_a_good_judge_is_kept(trained: list[int], tmp_path: Path, right: int) -> None:
    trained[0] = right

    assert (get_judge(0, Console(quiet=True), out=tmp_path / "judge") / "weights").exists()


def test_a_bad_one_is_not(trained: list[int], tmp_path: Path) -> None:
    trained[0] = 97

    with pytest.raises(NotGoodEnoughError, match=r"right on 97\.0%"):
        get_judge(0, Console(quiet=True), out=tmp_path / "judge")

    assert not (tmp_path / "judge").exists()


def test_one_that_is_to_know_nothing_must_not_know_something(trained: list[int], tmp_path: Path) -> None:
    trained[0] = 50
    assert get_judge(0, Console(quiet=True), shuffled=True, out=tmp_path / "judge").exists()

    trained[0] = 71
    with pytest.raises(NotGoodEnoughError, match="is to know nothing"):
        get_judge(0, Console(quiet=True), shuffled=True, out=tmp_path / "other")


def test_its_grade_is_told_each_time(trained: list[int], tmp_path: Path) -> None:
    trained[0] = 99
    for _ in range(2):
        console = Console(record=True, quiet=False, file=StringIO())
        get_judge(0, console, out=tmp_path / "judge")
        assert "99 of 100 held-out cases right (99.0%), 0 unread" in console.export_text()


@pytest.mark.parametrize(("mean", "is_kept"), [(0.19, False), (0.3, True), (0.41, False)])
def test_a_policy_must_be_right_now_and_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mean: float, is_kept: bool
) -> None:
    monkeypatch.setattr(policy, "train", lambda _folder, **_: None)
    monkeypatch.setattr(policy, "mean_reward", lambda _folder: mean)
    with nullcontext() if is_kept else pytest.raises(NotGoodEnoughError, match=r"0\.2 to 0\.4"):
        get_policy(0, Console(quiet=True), tmp_path / "policy")
    assert (tmp_path / "policy").exists() is is_kept
