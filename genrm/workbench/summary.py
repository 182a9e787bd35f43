"""What a run of judging came to, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import quantiles

from rich.console import Group, RenderableType
from rich.table import Table

from genrm.workbench.outputs import Line


@dataclass
class Summary:
    """Counts lines of output. A latency is counted only for samples that the judge was asked about."""

    verdicts: Counter[tuple[bool | None, bool | float | None]] = field(default_factory=Counter)  # (label, verdict)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    attempts: int = 0
    samples: int = 0

    def add(self, line: Line) -> None:
        """Count one line."""
        self.samples += 1
        self.verdicts[line["label"], line["verdict"]] += 1
        self.attempts += line["attempts"]
        if line["verdict"] is None:
            self.reasons[line["reason"]] += 1
        if line["attempts"]:
            self.latencies.append(line["latency"])

    @property
    def agreement(self) -> float | None:
        """The share of labelled samples with a verdict whose verdict is the label; None where there are none."""
        decided = {pair: count for pair, count in self.verdicts.items() if None not in pair}
        total = sum(decided.values())
        return sum(count for (label, verdict), count in decided.items() if label == verdict) / total if total else None


def render(summary: Summary, seconds: float | None = None) -> RenderableType:
    """The summary for a terminal. `seconds`: how long this run's samples took, for samples and requests a second."""
    if not summary.samples:
        return "No sample was judged."
    return Group(_verdict_table(summary), _figures(summary, seconds))


def _verdict_table(summary: Summary) -> Table:
    table = Table(title="verdicts", title_justify="left")
    table.add_column("the solution is")
    for name in ("judged True", "judged False", "no verdict", "all"):
        table.add_column(name, justify="right")
    names = {True: "right", False: "wrong", None: "not labelled"}
    for label, name in names.items():
        counts = [summary.verdicts[label, verdict] for verdict in (True, False, None)]
        if any(counts):
            table.add_row(name, *(f"{count:,}" for count in (*counts, sum(counts))))
    return table


def _figures(summary: Summary, seconds: float | None) -> Table:
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column()
    if summary.agreement is not None:
        table.add_row("agreement with the truth", f"{summary.agreement:.1%} of the verdicts")
    if summary.reasons:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.reasons.most_common())
        table.add_row("no verdict because", reasons)
    if len(summary.latencies) > 1:
        cuts = quantiles(summary.latencies, n=100, method="inclusive")
        table.add_row(
            "latency of a sample",
            f"median {cuts[49]:.3f} s, 95 % within {cuts[94]:.3f} s, longest {max(summary.latencies):.3f} s",
        )
    table.add_row("requests", f"{summary.attempts:,} for {summary.samples:,} samples")
    if seconds:
        table.add_row(
            "speed", f"{summary.attempts / seconds:,.0f} requests/s, {summary.samples / seconds:,.0f} samples/s"
        )
    return table
