"""A short GRPO run: the judge pays, and sleeps while the policy is updated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genrm.settings import Settings
from genrm.workbench.offloading import opened
from judges import cases
from judges.launch import Judge
from judges.training import GROUP, PROMPTS, train

STEPS = 2
NO_VERDICT = -1.0
ENOUGH = 0.8
"""The share of a real model's replies that must have a verdict in them."""


@pytest.fixture
def verl_python(judge: Judge, pytestconfig: pytest.Config) -> str:
    """The Python that has verl; the test is skipped where none was asked for."""
    if pytestconfig.option.no_grpo:
        pytest.skip("--no-grpo")
    named: str | None = pytestconfig.option.trainer_python
    python = named or sys.executable
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('verl') is None)"
    if subprocess.run([python, "-c", code]).returncode:
        reason = f"{python} has no verl: TRAINER_PYTHON or --trainer-python names a Python that has it"
        if named:
            pytest.fail(reason)
        more = "" if judge.kind.gpu else "; `nox -s gpu_e2e -- --grpo` installs it"
        pytest.skip(reason + more)
    return python


@pytest.mark.usefixtures("can_sleep")
async def test_the_judge_sleeps_while_the_policy_is_updated(
    judge: Judge, settings: dict[str, Any], verl_python: str, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    told = {**settings, "ON_NO_VERDICT": NO_VERDICT}  # else the rule would speak for a judge that says nothing
    trained = train(judge, told, verl_python, tmp_path, STEPS, pytestconfig.option.policy)
    assert len(trained.asleep_in_updates) >= STEPS
    assert all(trained.asleep_in_updates)
    assert len(trained.scores) == STEPS * PROMPTS * GROUP
    assert set(trained.scores) <= {0.0, 1.0, NO_VERDICT}
    judged = 1 - trained.scores.count(NO_VERDICT) / len(trained.scores)
    assert judged >= (1.0 if cases.required(judge) == 1.0 else ENOUGH), f"{judged:.0%} have a verdict"
    async with opened(Settings.load(**settings)) as offload:
        state = await offload.state()
    assert state.wakes >= STEPS
    assert state.sleeps >= STEPS
