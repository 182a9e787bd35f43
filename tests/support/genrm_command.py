"""The `genrm` command as a process of its own, as a person or a script runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import genrm

# For a machine that has come to a halt; no test waits that long on one that has not.
PATIENCE = 120.0
# Found by the process wherever it runs, also where the package is not installed.
_SOURCES = Path(genrm.__file__).parents[1]
# Wide enough that no message is broken into lines, and nothing of the caller's terminal.
_TERMINAL = {"COLUMNS": "300", "TERM": "dumb", "NO_COLOR": "1"}


def start(*arguments: Any, **environment: Any) -> subprocess.Popen[str]:
    """Start `genrm` with these arguments. `environment`: more variables of it."""
    return subprocess.Popen(
        [sys.executable, "-m", "genrm.cli", *map(str, arguments)],
        env={
            **os.environ,
            **_TERMINAL,
            "PYTHONPATH": str(_SOURCES),
            **{key: str(value) for key, value in environment.items()},
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(*arguments: Any, **environment: Any) -> subprocess.CompletedProcess[str]:
    """Run `genrm` to its end."""
    with start(*arguments, **environment) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process is to do; fails where it ends before that."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()}")
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"not within {PATIENCE} s: {process.communicate()}")
        time.sleep(0.01)
