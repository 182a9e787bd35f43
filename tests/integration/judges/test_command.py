"""`python -m judges`: a judge by hand, as a process that a person or a script starts and ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import genrm
import judges

TESTS = Path(judges.__file__).parents[1]
PATHS = [str(Path(genrm.__file__).parents[1]), str(TESTS), str(TESTS / "support")]
# For a machine that has come to a halt; no test waits that long on one that has not.
PATIENCE = 300.0


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "judges", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    with start(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_judge(how: signal.Signals, tmp_path: Path) -> None:
    with start("--server", "mock", "--work", str(tmp_path)) as process:
        assert process.stdout
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stdout.readline()
            assert line, f"it ended: {said} {process.stderr and process.stderr.read()}"
            said += line
        url = re.findall("export GENRM_BASE_URL=(.*)", said)[0]
        assert httpx.get(f"{url}/health").status_code == 200
        process.send_signal(how)
        out, _ = process.communicate(timeout=PATIENCE)
    assert "mock ended" in out
    assert "no process of it is left" in out
    assert process.returncode == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(url)


def test_help_shows_what_to_type() -> None:
    out = run("--help").stdout
    assert "nox -s gpu_e2e -- --server sglang --dp-size 2" in out
    assert re.search("^  vllm-cpu +vLLM on CPU, with a tiny judge$", out, re.MULTILINE)


def test_what_is_missing_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    checked = run("--check", "all", "--server", "vllm-cpu", "--python", str(tmp_path / "python"), "-k", "sleep")
    assert checked.returncode == 3
    assert checked.stdout == (
        f"{tmp_path}/python cannot be run (No such file or directory): --python or JUDGE_PYTHON names one\n"
    )


def test_nothing_is_said_where_nothing_is_missing() -> None:
    checked = run("--check", "all", "--server", "mock")
    assert (checked.returncode, checked.stdout) == (0, "")


def test_an_option_that_it_does_not_know_is_refused() -> None:
    assert "unrecognized arguments: --sever mock" in run("--sever", "mock").stderr
