"""The example scripts whose judge needs no GPU, run with the real verl, on CPU, to the end of the first step."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genrm.rewards import LEFT_OUT
from judges.processes import ProcessHost
from judges.programs.program import Program
from mock_server import MockServer
from rl import command
from tiny import models, tokens

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 400.0
NAN = re.compile(r":nan\b")
KEY = "not-to-be-seen"
MARKS = "Mark this solution from 0"
"""In the prompt of custom_genrm.py."""
SUMS = {"problem": {"regex": r"\d\+\d"}}
"""The problems of the data; the doctor's canaries have blanks, and it asks once."""


@dataclass(frozen=True)
class Case:
    """A script, and what its judge does.

    Attributes:
        judge: the arguments of MockServer.
        settings: as GENRM_* variables.
        keys: given to verl behind the script's own.
        scores: those that come of verdicts.
        lost: whether samples stay without a verdict.
    """

    script: str
    judge: dict[str, Any]
    settings: dict[str, str]
    scores: set[float]
    keys: tuple[str, ...] = ("reward.num_workers=1",)
    lost: bool = True


CASES = [
    Case(
        "run_genrm_remote.sh",
        judge={"scenario": {"shapes": {"no_box": 0.33}}},
        settings={"GENRM_MAX_RETRIES": "1"},
        scores={0.0, 1.0},
    ),
    # The mock recognises the built-in prompt, by which the doctor asks, and not that of custom_genrm.py.
    Case(
        "run_custom_genrm.sh",
        judge={
            "scenario": {
                "unrecognised": "Sound, and brief.\nMark: 7",
                "faults": [{"match": {"content": MARKS}, "when": {"share": 0.33}, "fault": "null_content"}],
            }
        },
        settings={"GENRM_MAX_RETRIES": "1"},
        scores={0.7},
    ),
    Case(
        "run_external_api.sh",
        judge={
            "api_key": KEY,
            "scenario": {
                "faults": [{"match": SUMS, "when": {"nth": [1]}, "fault": {"status": {"code": 429, "retry_after": 0}}}]
            },
        },
        settings={"GENRM_API_KEY": KEY, "GENRM_MODEL_NAME": "genrm-demo"},
        scores={0.0, 1.0},
        keys=(),
        lost=False,
    ),
]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A model that has learned nothing: what it writes is garbage."""
    folder = tmp_path / "policy"
    tokenizer = tokens.tokenizer()
    models.save(models.new_model(tokenizer, seed=0), tokenizer, folder)
    return folder


def run(script: str, plan: command.Plan, base_url: str, keys: tuple[str, ...]) -> str:
    """Run a script with the plan's keys behind its own, which therefore count; but it chooses who gives the reward.

    Returns what it wrote.
    """
    program = command.program(plan)
    variables = {
        "PYTHON": program.command[0],
        "MODEL": str(plan.policy),
        "TRAIN": str(plan.folder / "train.parquet"),
        "VAL": str(plan.folder / "train.parquet"),
        "GENRM_BASE_URL": base_url,
        "RAY_ADDRESS": "local",  # a cluster of its own, whatever else is there
    }
    small = [word for word in command.overrides(plan) if not word.startswith("reward.")]
    words = ["bash", str(EXAMPLES / script), *small, *keys]
    log = plan.folder / "verl.log"
    host = ProcessHost(
        Program(words, {**program.environment, **variables, **plan.settings}, program.own_variables), log
    )
    host.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while (ended := host.ended()) is None and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        host.stop()
    written = log.read_text(encoding="utf-8", errors="replace")
    assert ended == "ended with exit code 0", written[-4000:]
    return written


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.script)
def test_the_first_step(
    tmp_path: Path, policy: Path, mock_server_factory: Callable[..., MockServer], case: Case
) -> None:
    """Some replies hold no verdict, or do not come at once: nothing that verl logs is NaN for it."""
    judge = mock_server_factory(**case.judge)
    plan = command.Plan(
        folder=tmp_path,
        policy=policy,
        settings=case.settings,
        steps=1,
        prompts=8,
        group=4,
        estimator="genrm_grpo",
        plugins=("genrm.verl_plugin", *command.PLUGINS),
    )
    command.write_data(plan)
    log = run(case.script, plan, judge.base_url, case.keys)
    assert "genrm_grpo leaves samples without verdict out of their group" in log
    assert "training/global_step:1" in log
    assert not NAN.search(log.replace("\n", " "))
    assert KEY not in log
    rows = [json.loads(line) for line in (tmp_path / "rollouts" / "1.jsonl").read_text().splitlines()]
    assert len(rows) == plan.samples
    scores = {row["score"] if row["score"] == LEFT_OUT else round(row["score"], 4) for row in rows}  # of 32 bits
    assert scores & case.scores
    assert scores <= case.scores | {LEFT_OUT}
    assert (LEFT_OUT in scores) == case.lost
    assert any(exchange.faults for exchange in judge.requests) == ("faults" in case.judge["scenario"])
    # With the doctor's canaries.
    assert len(judge.requests) > len({(row["input"], row["output"]) for row in rows if row["output"].strip()})
