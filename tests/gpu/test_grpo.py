"""A short GRPO run: the judge pays, and sleeps while the policy is updated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genrm.settings import Settings
from genrm.workbench.offloading import opened
from judges.launch import Judge
from judges.training import train

STEPS = 2


@pytest.fixture
def verl_python(judge: Judge, pytestconfig: pytest.Config) -> str:
    """The Python that has verl; the test is skipped where it has none."""
    here = judge.options.python if judge.kind.gpu else sys.executable
    python: str = pytestconfig.option.trainer_python or here
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('verl') is None)"
    if subprocess.run([python, "-c", code]).returncode:
        pytest.skip(f"{python} has no verl: `nox -s gpu_e2e -- --grpo` installs it, TRAINER_PYTHON names one that has")
    return python


@pytest.mark.usefixtures("can_sleep")
async def test_the_judge_sleeps_while_the_policy_is_updated(
    judge: Judge, settings: dict[str, Any], verl_python: str, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    trained = train(judge, settings, verl_python, tmp_path, STEPS, pytestconfig.option.policy)
    assert len(trained.asleep_in_updates) >= STEPS
    assert all(trained.asleep_in_updates)
    assert set(trained.scores) <= {0.0, 1.0}  # verdicts, each of them
    async with opened(Settings.load(**settings)) as offload:
        state = await offload.state()
    assert state.wakes >= STEPS
    assert state.sleeps >= STEPS
