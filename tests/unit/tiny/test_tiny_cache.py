"""The cache of trained models: made once, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny.cache import kept


def _write(folder: Path) -> None:
    (folder / "weights").write_text("w")


def test_a_model_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        _write(folder)

    for _ in range(2):
        assert (kept(tmp_path / "models" / "judge", make) / "weights").read_text() == "w"

    assert len(made) == 1


@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError])
def test_a_training_that_is_interrupted_leaves_nothing(tmp_path: Path, how: type[BaseException]) -> None:
    def make(folder: Path) -> None:
        _write(folder)
        raise how

    with pytest.raises(how):
        kept(tmp_path / "judge", make)

    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    assert (kept(tmp_path / "judge", _write) / "weights").exists()
