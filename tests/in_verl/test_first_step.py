"""An example script's run with the real verl, on CPU, to the end of its first step."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from genrm.rewards import LEFT_OUT
from judges.processes import ProcessHost
from judges.programs.program import Program
from mock_server import MockServer
from rl import command
from tiny import models, tokens

SCRIPT = Path(__file__).parents[2] / "examples" / "run_genrm_remote.sh"
PATIENCE = 400.0
NAN = re.compile(r":nan\b")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A model that has learned nothing: what it writes is garbage."""
    folder = tmp_path / "policy"
    tokenizer = tokens.tokenizer()
    models.save(models.new_model(tokenizer, seed=0), tokenizer, folder)
    return folder


def run(plan: command.Plan, base_url: str) -> str:
    """Run the script with the plan's keys behind its own, which therefore count. Returns what it wrote."""
    program = command.program(plan)
    variables = {
        "PYTHON": program.command[0],
        "MODEL": str(plan.policy),
        "TRAIN": str(plan.folder / "train.parquet"),
        "VAL": str(plan.folder / "train.parquet"),
        "GENRM_BASE_URL": base_url,
        "RAY_ADDRESS": "local",  # a cluster of its own, whatever else is there
    }
    words = ["bash", str(SCRIPT), *command.overrides(plan)]
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
def test_run_genrm_remote(tmp_path: Path, policy: Path, mock_server_factory: Callable[..., MockServer]) -> None:
    """A third of the replies holds no verdict: nothing that verl logs is NaN for it, and the step is done."""
    judge = mock_server_factory(scenario={"shapes": {"no_box": 0.33}})
    plan = command.Plan(
        folder=tmp_path,
        policy=policy,
        settings={"GENRM_MAX_RETRIES": "1"},
        steps=1,
        prompts=8,
        group=4,
        estimator="genrm_grpo",
        plugins=("genrm.verl_plugin", *command.PLUGINS),
    )
    command.write_data(plan)
    log = run(plan, judge.base_url)
    assert "genrm_grpo leaves samples without verdict out of their group" in log
    assert "training/global_step:1" in log
    assert not NAN.search(log.replace("\n", " "))
    rows = [json.loads(line) for line in (tmp_path / "rollouts" / "1.jsonl").read_text().splitlines()]
    assert len(rows) == plan.samples
    assert {row["score"] for row in rows} <= {0.0, 1.0, LEFT_OUT}
    assert LEFT_OUT in {row["score"] for row in rows}
    # With the doctor's canaries.
    assert len(judge.requests) > len({(row["input"], row["output"]) for row in rows if row["output"].strip()})
