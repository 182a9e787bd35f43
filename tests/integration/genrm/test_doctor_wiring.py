"""Whether the reward function that a launch names can be imported and awaited, as verl would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genrm.workbench.doctor.findings import Finding
from genrm.workbench.doctor.launch import Launch, Unknown
from genrm.workbench.doctor.verl import Verl
from genrm.workbench.doctor.wiring import Wiring, check_function

OURS = "pkg://genrm.reward_function"


async def look(
    path: Any, name: Any = None, version: str = "0.9.1", manager: str = "naive", **variables: str
) -> Finding:
    """The only finding."""
    values = {"reward.reward_manager.name": manager}
    if path is not None:
        values["reward.custom_reward_function.path"] = path
    if name:
        values["reward.custom_reward_function.name"] = name
    launch = Launch(values=values, variables=variables)
    [finding] = await check_function(Wiring.of(launch, Verl.chosen(version, launch)))
    return finding


@pytest.mark.parametrize(
    ("path", "name", "level", "what", "fix"),
    [
        (OURS, None, "ok", "compute_score is there, and async", ""),
        ("pkg://genrm/reward_function", None, "ok", "compute_score is there, and async", ""),
        (OURS, "compute_score_batch", "failed", "compute_score_batch takes lists", "name=compute_score"),
        (OURS, "compute_score_sync", "warning", "compute_score_sync is not async", "name=compute_score"),
        (
            OURS,
            "score",
            "failed",
            f"{OURS} has no function score",
            "it has compute_score, compute_score_batch, compute_score_sync",
        ),
        (None, None, "failed", "no reward function is set", f"reward.custom_reward_function.path={OURS}"),
        ("pkg://no.such.module", None, "failed", "ModuleNotFoundError", "install it where verl's workers run"),
        ("/nowhere.py", None, "failed", "FileNotFoundError", "give the path from here"),
        ("/nowhere.txt", None, "failed", "/nowhere.txt is no Python file", "give the path from here"),
        (Unknown("$MINE"), None, "skipped", "is $MINE: what the shell makes of it is not known here", ""),
        (OURS, Unknown("$NAME"), "skipped", "what the shell makes of it is not known here", ""),
    ],
)
async def test_paths_and_names(path: Any, name: Any, level: str, what: str, fix: str) -> None:
    finding = await look(path, name)
    assert finding.level.value == level
    assert what in finding.what
    assert fix in finding.fix


async def test_the_manager_that_cannot_await() -> None:
    finding = await look(OURS, "compute_score_sync", manager="remote")
    assert finding.level.value == "ok"
    assert "as the reward manager remote wants it" in finding.what


async def test_the_fix_is_in_the_words_of_the_version() -> None:
    finding = await look(None, version="0.7.0")
    assert finding.fix == f"custom_reward_function.path={OURS} custom_reward_function.name=compute_score"


@pytest.mark.parametrize(
    ("code", "level", "what"),
    [
        ("print('hello')\nasync def compute_score(**kw): ...", "ok", "compute_score is there, and async"),
        ("def compute_score(**kw): ...", "warning", "compute_score is not async"),
        ("import no_such_module", "failed", "No module named 'no_such_module'"),
        ("import sys\nsys.exit('gone')", "failed", "SystemExit: gone"),
        ("import os\nos._exit(7)", "failed", "Python ended with 7"),
        ("import os, sys\nprint('last words', file=sys.stderr)\nos._exit(7)", "failed", "last words"),
        ("async def other(): ...\n_hidden = 1", "failed", "has no function compute_score"),
        ("import os\nif os.environ['GENRM_MINE'] == 'x':\n    async def compute_score(): ...", "ok", "is there"),
    ],
)
async def test_a_file_of_ones_own(tmp_path: Path, code: str, level: str, what: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    finding = await look(f"file://{tmp_path / 'mine.py'}", GENRM_MINE="x")
    assert finding.level.value == level
    assert what in finding.what
