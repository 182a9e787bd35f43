"""The example scripts, run to their end: the judge is the mock, and verl a program that notes how it was called."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mock_server import MockServer

SOURCES = Path(__file__).parents[3]
EXAMPLES = SOURCES / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("run_*.sh"))
ASKING = ["run_custom_genrm.sh", "run_external_api.sh", "run_genrm_remote.sh"]
"""Those that want a judge that is there."""
PATIENCE = 120.0
KEY = "not-to-be-seen"
GIVEN = {"MODEL": "policy", "TRAIN": "train.parquet", "VAL": "test.parquet", "GENRM_MODEL_NAME": "genrm-demo"}

pytestmark = pytest.mark.skipif(shutil.which("bash") is None or os.name != "posix", reason="there is no bash")

MAIN_PPO = """
    import json, os, pathlib, sys
    variables = {name: value for name, value in os.environ.items() if name.startswith(("GENRM_", "VERL_", "CUDA_"))}
    pathlib.Path(os.environ["NOTES"]).write_text(json.dumps({"words": sys.argv[1:], "variables": variables}))
"""
MOCK = """
    import sys
    from mock_server.cli import app
    words = sys.argv
    wanted = [flag + "=" + words[words.index(flag) + 1] for flag in ("--host", "--port", "--served-model-name")]
    sys.argv = ["mock", "--profile=PROFILE", *wanted]
    app()
"""


class Desk:
    """Where scripts are run. `verl`: the version that seems to be installed."""

    def __init__(self, folder: Path, verl: str) -> None:
        self.notes = folder / "notes.json"
        self.site = folder / "site"
        self._module("verl/trainer/main_ppo.py", MAIN_PPO)
        self._module("sglang/launch_server.py", MOCK.replace("PROFILE", "sglang-0.5.23"))
        metadata = self.site / f"verl-{verl}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: verl\nVersion: {verl}\n")
        vllm = self.site / "vllm"
        code = textwrap.dedent(MOCK).replace("PROFILE", "vllm-0.32.0")
        vllm.write_text(f"#!{sys.executable}\n{code}")
        vllm.chmod(0o755)

    def _module(self, name: str, code: str) -> None:
        path = self.site / name
        path.parent.mkdir(parents=True)
        path.write_text(textwrap.dedent(code))

    def run(self, script: str, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        environment = {
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join([str(self.site), str(SOURCES)]),
            "PATH": os.pathsep.join([str(self.site), os.environ["PATH"]]),
            "NOTES": str(self.notes),
            **GIVEN,
            **{name: str(value) for name, value in variables.items()},
        }
        command = ["bash", str(EXAMPLES / script), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)

    def noted(self) -> tuple[dict[str, str], dict[str, str]]:
        """The keys, and the variables, that verl was started with."""
        notes = json.loads(self.notes.read_text())
        return dict(word.split("=", 1) for word in notes["words"]), notes["variables"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, "0.9.1")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_to_set(desk: Desk, script: str) -> None:
    result = desk.run(script, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("GRPO with verl, and a ")
    assert "MODEL, TRAIN, VAL" in result.stdout or "run_genrm_remote.sh" in result.stdout
    assert "#" not in result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_missing_is_named(desk: Desk, script: str) -> None:
    result = desk.run(script, MODEL="")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{script}: MODEL is not set; --help says what it is\n"


def asked(judge: MockServer) -> dict[str, str]:
    return {"GENRM_BASE_URL": judge.base_url, "GENRM_API_KEY": KEY}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("version", "prefix"), [("0.7.0", ""), ("0.8.0", ""), ("0.9.0", "reward."), ("1.0", "reward.")]
)
def test_the_installed_verl_decides_about_the_keys(
    tmp_path: Path, mock_server: MockServer, script: str, version: str, prefix: str
) -> None:
    result = Desk(tmp_path, version).run(script, DRY_RUN=1, **asked(mock_server))
    assert (result.returncode, result.stderr) == (0, "")
    assert f" {prefix}custom_reward_function.path=" in result.stdout
    assert KEY not in result.stdout
    assert not mock_server.requests


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    "key", ["custom_reward_function.name=x", "++reward_model.num_workers=2", "reward_model.enable=1"]
)
def test_keys_that_would_be_ignored_are_refused(desk: Desk, mock_server: MockServer, script: str, key: str) -> None:
    result = desk.run(script, key, DRY_RUN=1, **asked(mock_server))
    assert result.returncode == 2
    assert f"verl 0.9.1 accepts {key.partition('=')[0]} and ignores it in silence" in result.stderr


def test_without_verl(desk: Desk) -> None:
    result = desk.run("run_genrm_remote.sh", PYTHON="false", GENRM_BASE_URL="http://judge")
    assert result.returncode == 2
    assert "verl is not installed for false" in result.stderr


@pytest.mark.parametrize("script", ASKING)
def test_a_judge_that_is_there(desk: Desk, mock_server: MockServer, script: str) -> None:
    result = desk.run(script, "trainer.total_training_steps=1", **asked(mock_server))
    assert result.returncode == 0, result.stderr
    assert "8 of 8 canaries have the verdict that is known" in result.stderr
    keys, variables = desk.noted()
    assert keys["trainer.total_training_steps"] == "1"
    assert keys["algorithm.adv_estimator"] == "genrm_grpo"
    assert (variables["VERL_USE_EXTERNAL_MODULES"], variables["GENRM_ON_NO_VERDICT"]) == ("genrm.verl_plugin", "skip")
    assert KEY not in str(keys)


@pytest.mark.parametrize("script", ASKING)
def test_a_judge_that_is_not_there_stops_it(
    desk: Desk, mock_server_factory: Callable[..., MockServer], script: str
) -> None:
    server = mock_server_factory()
    server.stop()
    result = desk.run(script, **asked(server))
    assert result.returncode == 2
    assert "genrm doctor says that this cannot go well" in result.stderr
    assert not desk.notes.exists()


def test_a_judge_on_the_same_gpu(desk: Desk, free_tcp_port: int) -> None:
    """It is started, sleeps when training begins, and is ended."""
    result = desk.run("run_colocated_offload.sh", PORT=free_tcp_port, PROMPTS=16, ROLLOUTS=4)
    assert result.returncode == 0, result.stderr
    assert (
        "a step has 64 samples (data.train_batch_size 16 x actor_rollout_ref.rollout.n 4), as GENRM_BATCH_SIZE says"
        in (result.stderr)
    )
    assert "awake after" in result.stderr
    _, variables = desk.noted()
    assert (variables["GENRM_USE_OFFLOAD"], variables["GENRM_BATCH_SIZE"]) == ("1", "64")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free_tcp_port)) != 0


def test_a_judge_behind_sglang(desk: Desk, free_tcp_port: int) -> None:
    result = desk.run("run_sglang_dp.sh", PORT=free_tcp_port, TRAIN_GPUS="0,1,2")
    assert result.returncode == 0, result.stderr
    assert "SGLang 0.5.23" in result.stderr
    keys, variables = desk.noted()
    assert (keys["trainer.n_gpus_per_node"], variables["CUDA_VISIBLE_DEVICES"]) == ("3", "0,1,2")


def test_a_server_that_does_not_start(desk: Desk, free_tcp_port: int) -> None:
    (desk.site / "vllm").write_text("#!/bin/sh\nexit 1\n")
    result = desk.run("run_colocated_offload.sh", PORT=free_tcp_port)
    assert result.returncode == 2
    assert "the judge's server has ended" in result.stderr
