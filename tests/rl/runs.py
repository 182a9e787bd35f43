"""Runs verl for a plan, tells each step as it comes, and leaves no process behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from judges.log_view import last_lines
from judges.processes import ProcessHost
from judges.programs import Program
from rl import command
from rl.command import Plan
from rl.curves import Step, read_step

LIMIT_SECONDS = 1200.0
"""A run that takes longer hangs."""
STOP_SECONDS = 5.0
"""So long verl may take to end when it is interrupted, and Ray's processes that outlived it; then all are killed."""
DONE = "ended with exit code 0"
_LOOK_SECONDS = 0.5
_LAST_LINES = 25


class RunError(RuntimeError):
    """verl did not do its steps; with the end of its log."""


def run(plan: Plan, on_step: Callable[[Step], None], on_look: Callable[[], None] = lambda: None) -> list[Step]:
    """Train. Whatever ends it, Ctrl-C too, ends verl and all of Ray's processes.

    Args:
        on_step: told of each step when verl has written it down.
        on_look: called from time to time; what it raises ends the run.

    Raises:
        RunError: verl failed, or did not end.
    """
    command.write_data(plan)
    log = plan.folder / "verl.log"
    steps: list[Step] = []

    def look() -> None:
        _read_on(plan, steps, on_step)
        on_look()

    ended = watch(command.program(plan), log, look)
    _read_on(plan, steps, on_step, is_final=True)
    if ended != DONE or len(steps) < plan.steps:
        raise RunError(f"verl {ended}, {len(steps)} of {plan.steps} steps done; {_end_of(log)}")
    return steps


def watch(program: Program, log: Path, on_look: Callable[[], None] = lambda: None) -> str:
    """Run verl to its end; `on_look` is called from time to time. Whatever ends it, all of Ray's processes end, too.

    Returns:
        How it ended, in words.

    Raises:
        RunError: it did not end.
    """
    host = ProcessHost(program, log, stop_seconds=STOP_SECONDS)
    deadline = time.monotonic() + LIMIT_SECONDS
    host.start()
    try:
        while (ended := host.ended()) is None:
            if time.monotonic() > deadline:
                raise RunError(f"verl is not done after {LIMIT_SECONDS:g} s; {_end_of(log)}")
            on_look()
            time.sleep(_LOOK_SECONDS)
    finally:
        host.stop()
    return ended


def _read_on(plan: Plan, steps: list[Step], on_step: Callable[[Step], None], is_final: bool = False) -> None:
    """Add the steps that verl has written down meanwhile."""
    while step := _read(plan.folder / "rollouts" / f"{len(steps) + 1}.jsonl", plan.samples, is_final):
        steps.append(step)
        on_step(step)


def _read(path: Path, samples: int, is_final: bool) -> Step | None:
    """The step in a file; None while verl is still writing it. At the end it is taken as it is."""
    with suppress(FileNotFoundError, ValueError):
        step = read_step(path)
        if len(step.rows) + step.fillers == samples or is_final:
            return step
    return None


def _end_of(log: Path) -> str:
    return f"its log {log} ends with\n{last_lines(log, _LAST_LINES)}"
