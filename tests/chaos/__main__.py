"""The offload's drill, with several seeds and server versions; those of one seed run side by side.

Exits with 1 where a promise was broken: a sample lost or scored twice, a request while the judge slept, a sleep with
requests in flight, a judge awake after the batch's last reward, or at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import sglang_router_process
from chaos.drill import Plan, Report, run
from chaos.verdict import COMPLETIONS, faults_of

PROFILES = ["vllm-0.32.0", "vllm-0.23.0", "vllm-0.16.0", "sglang-0.5.23"]
_LISTED = 20
_COLUMNS = "profile seed samples asked workers\nkilled servers\nkilled parts\nwoken exact\nsleeps s faults"


def main() -> int:
    """Run the drills. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--profile", nargs="+", default=PROFILES, metavar="NAME", help=f"default: {' '.join(PROFILES)}")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--processes", type=int, default=Plan.processes, help=f"that score ({Plan.processes})")
    parser.add_argument("--batches", type=int, default=Plan.batches, help=f"({Plan.batches})")
    parser.add_argument("--batch-size", type=int, default=Plan.batch_size, help=f"samples ({Plan.batch_size})")
    given = parser.parse_args()
    console = Console()
    if not sglang_router_process.INSTALLED and any(name.startswith("sglang") for name in given.profile):
        console.print(f"SGLang is left out: {sglang_router_process.MISSING}")
        given.profile = [name for name in given.profile if not name.startswith("sglang")]
    reports = asyncio.run(drills(given, console))
    console.print(table_of(reports))
    return int(any(map(faults_of, reports)))


async def drills(given: argparse.Namespace, console: Console) -> list[Report]:
    """All of them; what is wrong is printed at once."""
    reports: list[Report] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("batches", total=given.seeds * len(given.profile) * given.batches)
        for seed in range(given.seed, given.seed + given.seeds):
            plans = [Plan(profile, seed, given.processes, given.batches, given.batch_size) for profile in given.profile]
            for report in await asyncio.gather(*(run(plan, lambda: progress.advance(bar)) for plan in plans)):
                reports.append(report)
                for fault in faults_of(report)[:_LISTED]:
                    where = f"{report.plan.profile} seed {seed}"
                    console.print(f"{where}: {fault}", markup=False, highlight=False, soft_wrap=True)
    return reports


def table_of(reports: list[Report]) -> Table:
    """One line a drill."""
    table = Table()
    for name in _COLUMNS.split(" "):
        table.add_column(name, no_wrap=True)
    for report in reports:
        plan = report.plan
        table.add_row(
            plan.profile,
            str(plan.seed),
            f"{len(report.outcomes):,}",
            f"{sum(entry['path'] == COMPLETIONS for entry in report.journal):,}",
            *(str(count) for count in (report.workers_killed, report.servers_killed, report.parts_woken)),
            f"{report.undisturbed - len(report.late)}/{report.undisturbed}",
            f"{report.seconds:.0f}",
            str(len(faults_of(report))),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
