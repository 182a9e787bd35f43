"""`python -m chaos`: drills with several seeds and server profiles; `--help` says how."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from chaos.drill import Plan, Report, run
from chaos.verdict import COMPLETIONS, faults_of

PROFILES = ["vllm-0.32.0", "vllm-0.23.0", "vllm-0.16.0"]
_LISTED = 20


def main() -> int:
    """Run the drills. Returns 1 if one was not passed."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--profile", nargs="*", default=PROFILES, help="server versions, one after the other")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    for name in ("processes", "batches", "batch_size"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(Plan, name))
    given = parser.parse_args()
    console, failed = Console(), False
    table = Table(
        "profile",
        "seed",
        "samples",
        "workers\nkilled",
        "servers\nkilled",
        "parts\nwoken",
        "asked",
        "exact\nsleeps",
        "s",
        "faults",
        title="drills",
    )
    for profile in given.profile:
        for seed in range(given.seed, given.seed + given.seeds):
            plan = Plan(profile, seed, given.processes, given.batches, given.batch_size)
            report = asyncio.run(run(replace(plan)))
            faults = faults_of(report)
            failed = failed or bool(faults)
            for fault in faults[:_LISTED]:
                console.print(f"{profile} seed {seed}: {fault}", markup=False, highlight=False, soft_wrap=True)
            table.add_row(*_row(report, len(faults)))
    console.print(table)
    return int(failed)


def _row(report: Report, faults: int) -> list[str]:
    plan = report.plan
    asked = sum(entry["path"] == COMPLETIONS for entry in report.journal)
    exact = f"{report.undisturbed - len(report.late)}/{report.undisturbed}"
    counts = (report.workers_killed, report.servers_killed, report.parts_woken, asked)
    return [
        plan.profile,
        str(plan.seed),
        str(len(report.outcomes)),
        *map(str, counts),
        exact,
        f"{report.seconds:.0f}",
        str(faults),
    ]


if __name__ == "__main__":
    sys.exit(main())
