"""Many rows -> judgements, as they come, with a bounded number in flight and a progress bar."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from genrm.errors import GenRMError, JudgeError
from genrm.judge import Judge, Judgement
from genrm.rewards import Record, reward_by_judge
from genrm.verdicts import Reason
from genrm.workbench.inputs import Row

# Reasons that say something of the judge's server and nothing of the sample: such a sample is not done.
_NOT_DONE = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.OVERLOADED, Reason.BAD_REPLY})
# A wrong key, a wrong model, a wrong path: no sample will fare better.
_HOPELESS = frozenset({401, 403, 404, 405})
# So many samples in a row without a reply, and the server is taken for dead.
_ENOUGH = 20


class JudgeGone(GenRMError):
    """The judge does not reply, to any sample. What was judged so far is kept."""


@dataclass
class Outcome:
    """How a run went: how many samples were judged, and how many were left because the judge did not reply."""

    judged: int = 0
    left: int = 0
    last_failure: JudgeError | None = None


Done = Callable[[Row, Judgement, Record], object]


def judge_all(rows: Iterable[Row], judge: Judge, done: Done, tick: Callable[[], object]) -> Outcome:
    """`judge_rows` in an event loop of its own, the judge's connections closed at its end."""

    async def run() -> Outcome:
        try:
            return await judge_rows(rows, judge, done, tick)
        finally:
            await judge.aclose()

    return asyncio.run(run())


async def judge_rows(rows: Iterable[Row], judge: Judge, done: Done, tick: Callable[[], object]) -> Outcome:
    """Judge all rows; `done` is called for each that is done, `tick` for each that was tried.

    Raises:
        JudgeGone: the judge refuses every request, or has not replied for a long row of samples.
    """
    outcome = Outcome()
    in_a_row = 0
    source = iter(rows)

    async def work() -> None:
        nonlocal in_a_row
        for row in _shared(source):
            judgement = await judge.judge(row.sample)
            failure = judgement.failure
            if failure is not None and failure.status in _HOPELESS:
                raise JudgeGone(str(failure))
            tick()
            if judgement.verdict.reason in _NOT_DONE:
                outcome.left += 1
                outcome.last_failure = failure
                in_a_row += 1
                if in_a_row >= _ENOUGH:
                    raise JudgeGone(f"no reply to {in_a_row} samples in a row; the last failure: {failure}")
                continue
            in_a_row = 0
            record = await reward_by_judge(row.sample, judgement, judge.settings)
            done(row, judgement, record)
            outcome.judged += 1

    await _run_alike(work, judge.settings.max_workers)
    return outcome


async def _run_alike(work: Callable[[], Awaitable[None]], count: int) -> None:
    """Run `count` of the same; the first error stops all and comes out alone, not as a group."""
    errors: list[Exception] = []

    async def guarded(scope: anyio.CancelScope) -> None:
        try:
            await work()
        except Exception as error:
            errors.append(error)
            scope.cancel()

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(guarded, tasks.cancel_scope)
    if errors:
        raise errors[0]


def _shared(source: Iterator[Row]) -> Iterator[Row]:
    """The rest of an iterator that others draw from, too (a `for` over it directly would do the same, unseen)."""
    yield from source


def progress_bar(console: Console) -> Progress:
    """The progress bar of the tools."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
