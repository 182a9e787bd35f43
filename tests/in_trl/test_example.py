"""examples/trl_grpo.py, as its docstring says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed; nox -s trl brings it")

from in_trl import toy
from mock_server import MockServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "trl_grpo.py"


def test_the_example_trains(mock_server: MockServer, tmp_path: Path) -> None:
    policy, data = tmp_path / "policy", tmp_path / "problems.jsonl"
    toy.policy().save_pretrained(policy)
    toy.tokenizer().save_pretrained(policy)
    data.write_text("".join(json.dumps({"problem": problem, "answer": "7"}) + "\n" for problem in toy.PROBLEMS))
    places = ["--model", policy, "--data", data, "--out", tmp_path / "trained", "--judge", mock_server.base_url]
    small = ["--steps", "2", "--group", "4", "--tokens", "4"]
    command = [sys.executable, str(EXAMPLE), *map(str, places), *small]
    home = {"HF_HOME": str(tmp_path / "huggingface"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env={**os.environ, **home})
    assert done.returncode == 0, done.stderr
    assert re.search(r"mean reward: [\d.]+ in the first step, [\d.]+ in the last", done.stdout)
    assert (tmp_path / "trained" / "model.safetensors").exists()
    problems = {text for exchange in mock_server.requests for text in toy.PROBLEMS if text in exchange.messages[0][1]}
    assert len(problems) == 2
