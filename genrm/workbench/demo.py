"""`genrm demo`: the whole way from solutions to rewards on this machine alone, against an embedded mock."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from genrm.judge import Judge
from genrm.settings import Settings
from genrm.workbench.inputs import Row, read_rows
from genrm.workbench.judging import judge_all, progress_bar
from genrm.workbench.outputs import Output
from genrm.workbench.summary import Summary, render
from mock_server.server import MockServer

# A judge that errs, and writes replies that hold no verdict: what a real one does, in known shares.
ERRORS = {"false_true": 0.05, "false_false": 0.05}
SHAPES = {"no_box": 0.04, "two_boxes": 0.03, "truncated": 0.04}
# Bytes of critique a second and request: replies take about as long as those of a small judge on a GPU.
TOKENS_PER_SECOND = 3000.0


def run_demo(console: Console, seed: int, workers: int) -> int:
    """Judge the bundled solutions, and print what came of it. Returns the exit code."""
    with resources.as_file(resources.files("genrm") / "workbench" / "data" / "demo.jsonl") as path:
        rows = [row for row in read_rows(path) if isinstance(row, Row)]
        scenario = {"oracle": {"pairs_file": str(path)}, "errors": ERRORS, "shapes": SHAPES}
        with MockServer(scenario=scenario, seed=seed, tokens_per_second=TOKENS_PER_SECOND) as server:
            console.print(
                f"A mock GenRM listens at {server.base_url}; it judges {len(rows)} solutions to maths problems."
            )
            summary, seconds = _judge_all(console, rows, server.base_url, workers)
    console.print(render(summary, seconds))
    console.print(
        f"\nThe mock errs on purpose: {ERRORS['false_true']:.0%} of its verdicts are wrong, and "
        f"{sum(SHAPES.values()):.0%} of its replies hold no verdict; then the sample is asked again.\n"
        "Next: [bold]genrm score --help[/] judges a file of your own; [bold]genrm-mock --help[/] serves the mock.",
        highlight=False,
    )
    return 0


def _judge_all(console: Console, rows: list[Row], base_url: str, workers: int) -> tuple[Summary, float]:
    # All are given, so that no GENRM_* variable, which is meant for a real judge, changes the demo.
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    judge, summary = Judge(Settings.load(**{**defaults, "base_url": base_url, "max_workers": workers})), Summary()
    with (
        TemporaryDirectory() as folder,
        Output(Path(folder) / "demo.jsonl") as output,
        progress_bar(console) as progress,
    ):
        task = progress.add_task("judging", total=len(rows))
        start = time.perf_counter()
        judge_all(
            rows,
            judge,
            lambda row, judgement, record: summary.add(output.append(row, judgement, record)),
            lambda: progress.advance(task),
        )
        return summary, time.perf_counter() - start
