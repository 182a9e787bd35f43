"""A judge that learned too little is not kept; the training itself is played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tiny import judge
from tiny.__main__ import NotGoodEnoughError, get_judge
from tiny.judge import Grade


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


def test_of_one_that_is_to_know_nothing_nothing_is_wanted(trained: list[int], tmp_path: Path) -> None:
    trained[0] = 50

    assert get_judge(0, Console(quiet=True), shuffled=True, out=tmp_path / "judge").exists()
