"""Many rows: each is judged once, so many at a time, and a judge that is gone is noticed."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from rich.console import Console

from genrm import (
    Judge,
    JudgeError,
    Judgement,
    JudgeOverloaded,
    JudgeRefused,
    JudgeUnreachable,
    Reason,
    Sample,
    Settings,
    Verdict,
)
from genrm.rewards import Record
from genrm.workbench.inputs import Row
from genrm.workbench.judging import JudgeGone, judge_all, judge_rows, progress_bar

URL = "http://judge:30000"
RIGHT = Judgement(Verdict(True, Reason.OK), attempts=1)
Script = Callable[[Sample], Judgement]


def failed(reason: Reason, failure: JudgeError | None = None) -> Judgement:
    return Judgement(Verdict(None, reason), attempts=3, failure=failure)


UNREACHABLE = failed(Reason.UNREACHABLE, JudgeUnreachable(URL, "no connection", attempt=3))


def rows(count: int) -> list[Row]:
    return [Row(str(n), Sample(str(n), extra_info={"question": f"How many {n}s?"}), None) for n in range(count)]


class FakeJudge(Judge):
    """Answers by a script; notes what it was asked and how many at a time.

    It answers when `together` samples are in flight or none can come, so that no test depends on luck.
    """

    def __init__(self, script: Script | Judgement = RIGHT, max_workers: int = 4, together: int = 1) -> None:
        super().__init__(Settings.load(max_workers=max_workers, on_no_verdict="zero"))
        self.script = script if callable(script) else lambda _sample: script
        self.together = together
        self.asked: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0
        self.closed = False
        self._enough = anyio.Event()

    async def judge(self, sample: Sample) -> Judgement:
        self.asked.append(sample.solution)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.in_flight >= self.together:
                self._enough.set()
            with anyio.fail_after(30):
                await self._enough.wait()
            await anyio.lowlevel.checkpoint()
            return self.script(sample)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        self.closed = True


class Notes:
    """What `done` and `tick` were called with."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Judgement, Record]] = []
        self.ticks = 0

    def note(self, row: Row, judgement: Judgement, record: Record) -> None:
        self.done.append((row.id, judgement, record))

    def tick(self) -> None:
        self.ticks += 1

    @property
    def ids(self) -> list[str]:
        return [name for name, _, _ in self.done]


async def test_every_row_is_done_once() -> None:
    judge, notes = FakeJudge(max_workers=4), Notes()
    outcome = await judge_rows(rows(50), judge, notes.note, notes.tick)
    assert Counter(notes.ids) == Counter(str(n) for n in range(50))
    assert sorted(judge.asked, key=int) == [str(n) for n in range(50)]
    assert (outcome.judged, outcome.left, outcome.last_failure, notes.ticks) == (50, 0, None, 50)


async def test_a_row_comes_with_its_own_judgement_and_record() -> None:
    def script(sample: Sample) -> Judgement:
        return Judgement(Verdict(int(sample.solution) % 2 == 0, Reason.OK), attempts=int(sample.solution))

    notes = Notes()
    await judge_rows(rows(9), FakeJudge(script), notes.note, notes.tick)
    for name, judgement, record in notes.done:
        assert judgement.attempts == record["genrm_attempts"] == int(name)
        assert record["score"] == float(int(name) % 2 == 0)


@pytest.mark.parametrize(("workers", "count"), [(1, 5), (3, 10), (8, 8), (8, 3)])
async def test_so_many_are_in_flight_and_no_more(workers: int, count: int) -> None:
    judge, notes = FakeJudge(max_workers=workers, together=min(workers, count)), Notes()
    await judge_rows(rows(count), judge, notes.note, notes.tick)
    assert judge.most_in_flight == min(workers, count)
    assert len(notes.done) == count


async def test_rows_are_drawn_as_they_are_needed() -> None:
    drawn = 0

    def source() -> Iterator[Row]:
        nonlocal drawn
        for row in rows(20):
            drawn += 1
            yield row

    judge, notes = FakeJudge(max_workers=3), Notes()

    def tick() -> None:
        notes.tick()
        assert drawn <= notes.ticks + 3

    await judge_rows(source(), judge, notes.note, tick)
    assert drawn == notes.ticks == 20


async def test_no_rows() -> None:
    notes = Notes()
    outcome = await judge_rows([], FakeJudge(), notes.note, notes.tick)
    assert (outcome.judged, outcome.left, notes.done, notes.ticks) == (0, 0, [], 0)


@pytest.mark.parametrize(
    "reason", [Reason.UNREACHABLE, Reason.TIMEOUT, Reason.OVERLOADED, Reason.BAD_REPLY], ids=lambda reason: reason.value
)
async def test_a_sample_that_got_no_reply_is_not_done(reason: Reason) -> None:
    failure = JudgeOverloaded(URL, "HTTP 503", status=503)
    notes = Notes()
    judge = FakeJudge(lambda sample: failed(reason, failure) if sample.solution == "2" else RIGHT)
    outcome = await judge_rows(rows(5), judge, notes.note, notes.tick)
    assert sorted(notes.ids) == ["0", "1", "3", "4"]
    assert (outcome.judged, outcome.left, outcome.last_failure, notes.ticks) == (4, 1, failure, 5)


@pytest.mark.parametrize("reason", [Reason.NO_BOX, Reason.TRUNCATED, Reason.REFUSED], ids=lambda reason: reason.value)
async def test_a_sample_that_got_a_reply_is_done_with_or_without_verdict(reason: Reason) -> None:
    judgement = failed(reason, JudgeRefused(URL, "HTTP 400", status=400) if reason is Reason.REFUSED else None)
    notes = Notes()
    outcome = await judge_rows(rows(30), FakeJudge(judgement), notes.note, notes.tick)
    assert (outcome.judged, outcome.left) == (30, 0)
    assert {record["genrm_fallback"] for _, _, record in notes.done} == {1}
    assert {record["score"] for _, _, record in notes.done} == {0.0}


class TestGone:
    @pytest.mark.parametrize("status", [401, 403, 404, 405])
    async def test_one_refusal_of_all_stops_all(self, status: int) -> None:
        refusal = failed(Reason.REFUSED, JudgeRefused(URL, f"HTTP {status}: go away", status=status, attempt=1))
        judge, notes = FakeJudge(refusal, max_workers=4, together=4), Notes()
        with pytest.raises(JudgeGone, match=f"judge:30000.*HTTP {status}: go away"):
            await judge_rows(rows(1000), judge, notes.note, notes.tick)
        assert notes.done == []
        assert len(judge.asked) <= 8
        assert judge.in_flight == 0

    async def test_what_is_in_flight_is_given_up(self) -> None:
        refusal = failed(Reason.REFUSED, JudgeRefused(URL, "HTTP 401", status=401))
        judge, notes = _OneAnswers(refusal), Notes()
        with pytest.raises(JudgeGone):
            await judge_rows(rows(100), judge, notes.note, notes.tick)
        assert judge.cancelled == 3
        assert judge.asked == ["0", "1", "2", "3"]

    async def test_twenty_failures_in_a_row_stop_all(self) -> None:
        judge, notes = FakeJudge(UNREACHABLE, max_workers=1), Notes()
        with pytest.raises(JudgeGone, match=r"no reply to 20 samples in a row; the last failure: .*no connection"):
            await judge_rows(rows(100), judge, notes.note, notes.tick)
        assert len(judge.asked) == 20
        assert notes.done == []

    async def test_nineteen_do_not(self) -> None:
        notes = Notes()
        outcome = await judge_rows(rows(19), FakeJudge(UNREACHABLE), notes.note, notes.tick)
        assert (outcome.judged, outcome.left, outcome.last_failure) == (0, 19, UNREACHABLE.failure)

    async def test_a_reply_starts_the_count_anew(self) -> None:
        judge = FakeJudge(lambda sample: RIGHT if sample.solution == "19" else UNREACHABLE, max_workers=1)
        notes = Notes()
        outcome = await judge_rows(rows(39), judge, notes.note, notes.tick)
        assert (outcome.judged, outcome.left) == (1, 38)
        judge, notes = FakeJudge(judge.script, max_workers=1), Notes()
        with pytest.raises(JudgeGone):
            await judge_rows(rows(40), judge, notes.note, notes.tick)
        assert notes.ids == ["19"]


class _OneAnswers(FakeJudge):
    """The first sample gets its answer when four are in flight; the others never do."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(judgement, max_workers=4, together=4)

    async def judge(self, sample: Sample) -> Judgement:
        judgement = await super().judge(sample)
        if sample.solution != "0":
            try:
                await anyio.sleep(30)  # it is cancelled before
            except anyio.get_cancelled_exc_class():
                self.cancelled += 1
                raise
        return judgement


class _DiskFull(Exception):
    pass


async def test_an_error_of_done_comes_out_as_itself() -> None:
    def done(*_: Any) -> None:
        raise _DiskFull

    judge = FakeJudge(max_workers=4, together=4)
    with pytest.raises(_DiskFull):
        await judge_rows(rows(100), judge, done, lambda: None)
    assert judge.in_flight == 0
    assert len(judge.asked) <= 8


def test_a_loop_of_its_own_closes_the_judge() -> None:
    judge, notes = FakeJudge(), Notes()
    assert judge_all(rows(3), judge, notes.note, notes.tick).judged == 3
    assert judge.closed


def test_and_closes_it_when_the_judge_is_gone() -> None:
    judge, notes = FakeJudge(UNREACHABLE), Notes()
    with pytest.raises(JudgeGone):
        judge_all(rows(30), judge, notes.note, notes.tick)
    assert judge.closed


def test_the_progress_bar_says_how_far_it_is() -> None:
    written = io.StringIO()
    with progress_bar(Console(width=100, file=written, force_terminal=False)) as progress:
        progress.advance(progress.add_task("judging", total=4), 3)
    assert re.search(r"judging.*3/4 .*elapsed, .* left", written.getvalue())
