"""`genrm score`: judge a file of solutions, each exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from genrm.judge import Judge
from genrm.settings import Settings
from genrm.workbench.inputs import BadRow, Columns, Format, Row, read_rows
from genrm.workbench.judging import Outcome, judge_all, progress_bar
from genrm.workbench.outputs import Output
from genrm.workbench.summary import Summary, render

# Bad rows beyond these are counted, not listed.
_LISTED = 20
_LONGEST_WHY = 300


@dataclass
class _Reading:
    """The rows of a file that are not done, with a note of those that are bad."""

    source: Iterator[Row | BadRow]
    output: Output
    console: Console
    bad: int = 0
    rows: list[Row] = field(default_factory=list)

    def read(self) -> _Reading:
        for row in self.source:
            if isinstance(row, BadRow):
                self.bad += 1
                if self.bad <= _LISTED:
                    why = Text.assemble((row.where, "red"), ": ", row.why[:_LONGEST_WHY])
                    self.console.print(why, soft_wrap=True)
            elif not self.output.has(row):
                self.rows.append(row)
        if self.bad > _LISTED:
            self.console.print(f"... and {self.bad - _LISTED:,} more")
        return self


def score_file(source: Path, out: Path, settings: Settings, form: Format, columns: Columns, console: Console) -> int:
    """Judge what `out` does not hold yet, and print a table of all that it holds then.

    Returns:
        The exit code: 0 all judged; 1 there were bad lines, or samples left because the judge did not reply.

    Raises:
        InputError, OutputError: a file cannot be used.
        JudgeGone: the judge does not reply; what was judged is in `out`.
    """
    summary = Summary()
    # The score of a sample without a verdict is written as it is; nothing is to be raised for a file.
    if settings.on_no_verdict == "raise":
        settings = settings.model_copy(update={"on_no_verdict": "nan"})
    judge = Judge(settings)
    with Output(out) as output:
        reading = _Reading(read_rows(source, form, columns), output, console).read()
        for line in output.lines:
            summary.add(line)
        if output.lines:
            there, to_go = len(output.lines), len(reading.rows)
            console.print(f"{there:,} samples are in {out} already; {to_go:,} to go", markup=False, soft_wrap=True)
        with progress_bar(console) as progress:
            task = progress.add_task("judging", total=len(reading.rows))
            outcome = judge_all(
                reading.rows,
                judge,
                lambda row, judgement, record: summary.add(output.append(row, judgement, record)),
                lambda: progress.advance(task),
            )
            seconds = progress.tasks[0].elapsed
    console.print(render(summary, seconds if not output.lines else None))
    return _report(outcome, reading.bad, console)


def _report(outcome: Outcome, bad: int, console: Console) -> int:
    if bad:
        console.print(f"[red]{bad:,} bad line(s) were left out[/] (named above)")
    if outcome.left:
        # A failure holds what a server wrote: that is no markup.
        console.print(
            Text.assemble(
                (f"{outcome.left:,} sample(s) were left, because the judge did not reply", "red"),
                f"; run the same command again to judge them. The last failure: {outcome.last_failure}",
            ),
            soft_wrap=True,
        )
    return 1 if bad or outcome.left else 0
