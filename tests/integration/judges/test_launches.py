"""What the launchers make of servers that die, hang, do not end and leave others behind: all real processes."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

import bad_server
from judges.host import StartError
from judges.launch import launched
from judges.options import Options
from judges.processes import ProcessHost
from judges.programs import KINDS, Kind, Program
from judges.programs.program import serves_a_model

SCRIPT = bad_server.__file__
# For a machine that has come to a halt; no test waits that long on one that has not.
PATIENCE = 300.0

Bad = Callable[..., Options]


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bad:
    """The options of a server that misbehaves in some way."""

    def options(kind: str, **more: float) -> Options:
        def program(options: Options, port: int) -> Program:
            return Program([options.python, SCRIPT, "--port", str(port), kind])

        monkeypatch.setitem(KINDS, kind, Kind(kind, "", "vllm", program, lambda _options: None, serves_a_model))
        return Options(kind, work=tmp_path, start_timeout=more.get("start_timeout", PATIENCE))

    return options


@pytest.fixture
def shown() -> io.StringIO:
    """What a console shows."""
    return io.StringIO()


@pytest.fixture
def console(shown: io.StringIO) -> Console:
    """Of a pipe."""
    return Console(file=shown)


def test_one_that_dies_at_start_says_why(bad: Bad, console: Console, shown: io.StringIO) -> None:
    says = r"(?s)dies ended with exit code 7; its log .* ends with.*RuntimeError: no such weights"
    with pytest.raises(StartError, match=says), launched(bad("dies"), console):
        raise AssertionError("it is not up")
    assert "  | RuntimeError: no such weights" in shown.getvalue()


def test_one_that_hangs_is_ended(bad: Bad, console: Console, shown: io.StringIO) -> None:
    says = r"hangs is not ready after 1 s \(--start-timeout\); its log .* ends with"
    with pytest.raises(StartError, match=says), launched(bad("hangs", start_timeout=1), console):
        raise AssertionError("it is not up")
    assert "no process of it is left" in shown.getvalue()


def test_a_python_that_is_not_there_is_named(bad: Bad, console: Console, tmp_path: Path) -> None:
    host = ProcessHost(Program([str(tmp_path / "python")]), tmp_path / "log")
    with pytest.raises(StartError, match="python cannot be run: No such file"):
        host.start()


def test_one_that_does_not_hear_sigterm_is_killed(
    bad: Bad, console: Console, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("judges.processes.STOP_SECONDS", 0.5)
    with launched(bad("is_deaf"), console) as judge:
        assert httpx.get(judge.url).status_code == 200
    assert "did not end by SIGTERM in 0.5 s, and was killed (code -9" in shown.getvalue()
    with pytest.raises(httpx.TransportError):
        httpx.get(judge.url)


def test_a_second_interrupt_kills_at_once(bad: Bad, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    servers: list[psutil.Process] = []
    with suppress(KeyboardInterrupt), launched(bad("is_deaf"), console) as judge:
        assert isinstance(judge.host, ProcessHost)
        servers += judge.host.members()
        monkeypatch.setattr(time, "sleep", interrupt)  # in the midst of its waiting for the end
    assert len(servers) == 1
    servers[0].wait(PATIENCE)


def test_its_processes_end_with_it_wherever_they_went(
    bad: Bad, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("judges.processes.STOP_SECONDS", 0.5)
    with launched(bad("has_children"), console) as judge:
        found = re.search(r"children (\d+) (\d+) (\d+)", judge.log.read_text())
        assert found
        children = [psutil.Process(int(pid)) for pid in found.groups()]
        assert all(child.is_running() for child in children)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_it_ends_with_an_error_of_whoever_uses_it(console: Console, shown: io.StringIO, tmp_path: Path) -> None:
    with pytest.raises(KeyError), launched(Options("mock", work=tmp_path, keep=True), console):
        raise KeyError
    assert "no process of it is left" in shown.getvalue()


def test_one_that_is_kept_goes_on_and_says_how_to_end_it(console: Console, shown: io.StringIO, tmp_path: Path) -> None:
    with launched(Options("mock", work=tmp_path, keep=True), console) as judge:
        pass
    try:
        assert httpx.get(f"{judge.url}/health").status_code == 200
        assert re.search(r"mock goes on at .*; to end it: kill -- -\d+", shown.getvalue())
    finally:
        judge.host.stop()


def test_the_log_is_shown_as_it_comes_also_on_a_terminal(tmp_path: Path) -> None:
    shown = io.StringIO()
    with launched(Options("mock", work=tmp_path), Console(file=shown, force_terminal=True, width=200)) as judge:
        pass
    assert "genrm-mock: dev mode on" in shown.getvalue()
    assert "genrm-mock: dev mode on" in judge.log.read_text()


def test_variables_of_the_caller_do_not_reach_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_OF_THE_CALLER", "1")
    code = "import os; print(sorted(name for name in os.environ if name.startswith('VLLM_')))"
    host = ProcessHost(
        Program([sys.executable, "-c", code], {"VLLM_OURS": "1"}, own_variables=("VLLM_",)), tmp_path / "log"
    )
    host.start()
    while host.ended() is None:
        time.sleep(0.01)
    host.stop()
    assert (tmp_path / "log").read_text().strip() == "['VLLM_OURS']"
