"""`genrm doctor`: all checks, in the order in which one makes the next worth while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from genrm.workbench.doctor.findings import skipped
from genrm.workbench.doctor.judge import examine_judge
from genrm.workbench.doctor.launch import read_launch
from genrm.workbench.doctor.no_verdicts import check_no_verdicts
from genrm.workbench.doctor.report import Report
from genrm.workbench.doctor.variables import settings_of
from genrm.workbench.doctor.verl import Verl
from genrm.workbench.doctor.wiring import (
    Wiring,
    check_batch,
    check_function,
    check_keys,
    check_kwargs,
    check_manager,
    check_reward_model,
)

IMPORT_SECONDS = 120.0
"""For importing a reward function, which may import torch."""


@dataclass(frozen=True)
class Wish:
    """What the caller wants to be looked at.

    Attributes:
        launch: files that launch verl.
        verl: a version of verl; None for the installed one.
        round_trip: put the judge to sleep and wake it; None: if GENRM_USE_OFFLOAD is on.
        timeout: seconds that a reply of the judge may take, at most.
    """

    launch: Sequence[Path] = ()
    verl: str | None = None
    round_trip: bool | None = None
    timeout: float = 60.0


async def examine(wish: Wish, console: Console) -> int:
    """Make all checks and print what they find. Returns the exit code: 1 where something has failed.

    Raises:
        LaunchError: a file or a version that was given cannot be used.
    """
    report = Report(console)
    wiring = None
    if wish.launch:
        launch = read_launch(wish.launch)
        wiring = Wiring.of(launch, Verl.chosen(wish.verl, launch))
    settings, findings = settings_of(wiring)
    if wiring:
        report.section(f"wiring ({', '.join(wiring.launch.names)})")
        report.add(*check_keys(wiring))
        await report.check("the import of the reward function", IMPORT_SECONDS, check_function(wiring))
        report.add(*check_kwargs(wiring), *check_manager(wiring))
        if settings:
            report.add(*check_batch(wiring, settings), *check_reward_model(wiring, settings))
            report.add(*check_no_verdicts(wiring, settings))
    report.section("settings")
    report.add(*findings)
    if settings:
        await examine_judge(report, settings, wish.round_trip, wish.timeout)
    else:
        report.add(skipped("the judge is not looked at while settings are wrong"))
    report.close()
    return report.exit_code
