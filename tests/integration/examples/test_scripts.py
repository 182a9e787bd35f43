"""The example scripts, run to their end: the judge is the mock, and verl a program that notes how it was called."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mock_server import MockServer

SOURCES = Path(__file__).parents[3]
EXAMPLES = SOURCES / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("run_*.sh"))
ASKING = ["run_custom_genrm.sh", "run_external_api.sh", "run_genrm_remote.sh"]
"""Those that want a judge that is there."""
SERVING = ["run_colocated_offload.sh", "run_sglang_dp.sh"]
"""Those that serve it themselves."""
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
OVERTAKEN = """
    import http.server, os, signal, sys
    port = int(sys.argv[sys.argv.index("--port") + 1])
    if os.fork():
        signal.pause()

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            os.kill(ours, signal.SIGKILL)
            while os.getppid() == ours:
                pass
            self.send_response(200)
            self.end_headers()

    ours = os.getppid()
    http.server.HTTPServer(("127.0.0.1", port), Other).handle_request()
"""
"""A server that has ended by the time that another one answers in its place."""


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
        self.vllm(MOCK.replace("PROFILE", "vllm-0.32.0"))

    def vllm(self, code: str, by: str = sys.executable) -> None:
        """What `vllm` is: a script in Python, or by another program."""
        path = self.site / "vllm"
        path.write_text(f"#!{by}\n{textwrap.dedent(code)}")
        path.chmod(0o755)

    def _module(self, name: str, code: str) -> None:
        path = self.site / name
        path.parent.mkdir(parents=True)
        path.write_text(textwrap.dedent(code))

    def run(self, script: str, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        return self.bash(EXAMPLES / script, *words, **variables)

    def bash(self, *words: str | Path, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run bash with the variables that the scripts find."""
        environment = {
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join([str(self.site), str(SOURCES)]),
            "PATH": os.pathsep.join([str(self.site), os.environ["PATH"]]),
            "NOTES": str(self.notes),
            **GIVEN,
            **{name: str(value) for name, value in variables.items()},
        }
        command = ["bash", *map(str, words)]
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
    "key",
    [
        "custom_reward_function.name=x",
        "++reward_model.num_workers=2",
        "reward_model.enable=1",
        "custom_reward_function={path:x.py,name:f}",
        "+reward_model={enable:true}",
        "++sandbox_fusion={url:u}",
    ],
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


def listens(port: int) -> bool:
    """Whether anything does, on this host."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
    assert not listens(free_tcp_port)


def test_a_judge_behind_sglang(desk: Desk, free_tcp_port: int) -> None:
    result = desk.run("run_sglang_dp.sh", PORT=free_tcp_port, TRAIN_GPUS="0,1,2")
    assert result.returncode == 0, result.stderr
    assert "SGLang 0.5.23" in result.stderr
    keys, variables = desk.noted()
    assert (keys["trainer.n_gpus_per_node"], variables["CUDA_VISIBLE_DEVICES"]) == ("3", "0,1,2")


@pytest.mark.parametrize("script", SERVING)
def test_what_a_dry_run_prints_can_be_run(desk: Desk, tmp_path: Path, free_tcp_port: int, script: str) -> None:
    """It waits for its judge, as the script does, and ends it."""
    path = tmp_path / "printed.sh"
    path.write_text(desk.run(script, DRY_RUN=1, PORT=free_tcp_port).stdout)
    result = desk.bash("-e", path)
    assert result.returncode == 0, result.stderr
    assert desk.noted()[0]["algorithm.adv_estimator"] == "genrm_grpo"
    assert not listens(free_tcp_port)


@pytest.mark.parametrize("script", SERVING)
def test_somebody_elses_judge_is_left_alone(desk: Desk, mock_server: MockServer, script: str) -> None:
    port = mock_server.base_url.rpartition(":")[2]
    result = desk.run(script, PORT=port, SKIP_DOCTOR=1)
    assert result.returncode == 2
    assert f"{script}: something listens already where the judge is to be served" in result.stderr
    assert "PORT=... takes another port" in result.stderr
    assert not mock_server.requests
    assert not desk.notes.exists()


@pytest.mark.parametrize("script", SERVING)
def test_a_port_that_is_taken_by_something_else(desk: Desk, script: str) -> None:
    """It need not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = desk.run(script, PORT=other.getsockname()[1], SKIP_DOCTOR=1)
    assert result.returncode == 2
    assert "something listens already" in result.stderr


def test_a_server_that_does_not_start(desk: Desk, free_tcp_port: int) -> None:
    desk.vllm("exit 1", by="/bin/sh")
    result = desk.run("run_colocated_offload.sh", PORT=free_tcp_port)
    assert result.returncode == 2
    assert "the judge's server has ended" in result.stderr


def test_a_server_whose_place_another_one_takes(desk: Desk, free_tcp_port: int) -> None:
    desk.vllm(OVERTAKEN)
    result = desk.run("run_colocated_offload.sh", PORT=free_tcp_port, SKIP_DOCTOR=1)
    assert result.returncode == 2
    assert "the judge's server has ended, and something else answers at" in result.stderr
    assert not desk.notes.exists()


def test_a_server_that_never_answers(desk: Desk, tmp_path: Path, free_tcp_port: int) -> None:
    desk.vllm(f"echo $$ > {shlex.quote(str(tmp_path / 'pid'))}; exec sleep 1000", by="/bin/sh")
    result = desk.run("run_colocated_offload.sh", PORT=free_tcp_port, JUDGE_START_SECONDS=1)
    assert result.returncode == 2
    assert f"does not answer at http://127.0.0.1:{free_tcp_port}/health after 1 s" in result.stderr
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("script", SERVING)
def test_a_proxy_is_not_asked_for_what_is_on_this_host(desk: Desk, free_tcp_port: int, script: str) -> None:
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:1")
    result = desk.run(
        script, PORT=free_tcp_port, SKIP_DOCTOR=1, JUDGE_START_SECONDS=60, no_proxy="", NO_PROXY="", **proxy
    )
    assert result.returncode == 0, result.stderr
