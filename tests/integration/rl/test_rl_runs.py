"""A run is watched while it goes on, and leaves nothing behind. In verl's place stands a small script."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from judges.programs.program import Program
from rl import command, runs
from rl.command import Plan
from rl.curves import Step
from rl.judging import RunningJudge
from rl.runs import RunError

# Writes steps as verl does, leaves a child of its own in a session of its own as Ray does, and ends as it is told.
TRAINER = """
import json, pathlib, subprocess, sys, time
folder, steps, samples, code = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
(folder / "child").write_text(str(child.pid))
(folder / "rollouts").mkdir()
row = json.dumps({"input": "user\\nWhat is 3+4?\\n", "output": "7", "score": 1.0}) + "\\n"
for step in range(1, steps + 1):
    with (folder / "rollouts" / f"{step}.jsonl").open("w") as file:
        for _ in range(samples):
            file.write(row)
            file.flush()
print("that is all", flush=True)
sys.exit(code)
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path / "run", tmp_path / "policy", steps=3, prompts=2, group=2)


def trainer(monkeypatch: pytest.MonkeyPatch, plan: Plan, *, steps: int = 3, samples: int = 4, code: int = 0) -> None:
    """Let the script be run in verl's place."""
    arguments = [str(plan.folder), str(steps), str(samples), str(code)]
    monkeypatch.setattr(runs, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(command, "program", lambda _plan: Program([sys.executable, "-c", TRAINER, *arguments]))


def assert_nothing_is_left(plan: Plan) -> None:
    """The trainer's child, which is in no group of ours, has ended, too."""
    pid = int((plan.folder / "child").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_each_step_is_told_once_and_in_order(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    trainer(monkeypatch, plan)
    told: list[Step] = []

    steps = runs.run(plan, told.append)

    assert steps == told
    assert [(step.number, step.reward, len(step.rows)) for step in steps] == [(1, 1, 4), (2, 1, 4), (3, 1, 4)]
    assert_nothing_is_left(plan)


def test_steps_with_too_few_samples_are_taken_when_there_will_be_no_more(
    monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    trainer(monkeypatch, plan, samples=3)

    assert [len(step.rows) for step in runs.run(plan, lambda _step: None)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"code": 1}, "verl ended with exit code 1, 3 of 3 steps done"),
        ({"steps": 2}, "verl ended with exit code 0, 2 of 3 steps done"),
    ],
)
def test_a_run_that_fails_says_so_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, how: dict[str, int], says: str
) -> None:
    trainer(monkeypatch, plan, **how)

    with pytest.raises(RunError) as raised:
        runs.run(plan, lambda _step: None)

    assert str(raised.value).startswith(says)
    assert str(raised.value).endswith("that is all")
    assert_nothing_is_left(plan)


def test_whatever_interrupts_it_leaves_no_process(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    trainer(monkeypatch, plan)

    def interrupt(_step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.run(plan, interrupt)

    assert_nothing_is_left(plan)


def test_a_judge_that_ends_meanwhile_ends_the_run(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    trainer(monkeypatch, plan)
    judge = RunningJudge("http://judge", ended=lambda: "ended with exit code 137" if plan.folder.exists() else None)

    with pytest.raises(RunError, match="the judge ended with exit code 137 meanwhile"):
        runs.run(plan, lambda _step: None, judge.must_live)


def test_verl_gets_all_problems(plan: Plan) -> None:
    command.write_data(plan)

    rows = pq.read_table(plan.folder / "train.parquet").to_pylist()

    assert len({row["extra_info"]["question"] for row in rows}) == 100
    assert all(row["extra_info"]["split"] == "train" for row in rows)
