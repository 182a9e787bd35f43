"""The table at the end: it counts right, and it says what it counts."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from genrm.workbench.outputs import Line
from genrm.workbench.summary import Summary, render


def line(label: bool | None, verdict: bool | None, **more: Any) -> Line:
    line: Line = {
        "id": "a",
        "digest": "0",
        "label": label,
        "verdict": verdict,
        "reason": "ok",
        "score": None,
        "fallback": False,
        "attempts": 1,
        "latency": 0.5,
        "tokens": 10,
        "failure": None,
        "reply": "",
    }
    return {**line, **more}  # type: ignore[typeddict-item]


def summary(*lines: Line) -> Summary:
    summary = Summary()
    for each in lines:
        summary.add(each)
    return summary


def text_of(summary: Summary, seconds: float | None = None) -> str:
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    with console.capture() as captured:
        console.print(render(summary, seconds))
    return captured.get()


def cells(text: str, name: str) -> list[str]:
    """What a row of the table holds behind its name."""
    [found] = [each for each in text.splitlines() if re.match(rf"\W*{name}\b", each)]
    return re.findall(r"[\d,]+", found)


MIXED = (
    [line(True, True)] * 5
    + [line(True, False)] * 2
    + [line(False, False)] * 3
    + [line(False, True)]
    + [line(True, None, reason="no_box", attempts=3)] * 2
    + [line(False, None, reason="conflict", attempts=3)]
    + [line(None, True)] * 4
)


class TestCounts:
    def test_the_table(self) -> None:
        text = text_of(summary(*MIXED))
        assert cells(text, "right") == ["5", "2", "2", "9"]
        assert cells(text, "wrong") == ["1", "3", "1", "5"]
        assert cells(text, "not labelled") == ["4", "0", "0", "4"]

    def test_columns_stand_in_the_order_of_their_counts(self) -> None:
        text = text_of(summary(*MIXED))
        assert re.search(r"the solution is\W+judged True\W+judged False\W+no verdict\W+all", text)

    def test_requests_and_reasons(self) -> None:
        text = text_of(summary(*MIXED))
        assert re.search(r"requests +24 for 18 samples", text)
        assert re.search(r"no verdict because +no_box 2, conflict 1", text)

    def test_large_numbers_can_be_read(self) -> None:
        text = text_of(summary(*[line(True, True)] * 1234))
        assert cells(text, "right") == ["1,234", "0", "0", "1,234"]
        assert "1,234 for 1,234 samples" in text

    def test_labels_that_do_not_occur_have_no_row(self) -> None:
        text = text_of(summary(line(None, True)))
        assert not re.search(r"\W(right|wrong)\W", text)
        assert cells(text, "not labelled") == ["1", "0", "0", "1"]


class TestAgreement:
    def test_it_is_a_share_of_the_verdicts_on_labelled_samples(self) -> None:
        assert summary(*MIXED).agreement == pytest.approx(8 / 11)
        assert re.search(r"agreement with the truth +72\.7% of the verdicts", text_of(summary(*MIXED)))

    @pytest.mark.parametrize(("verdict", "agreement"), [(True, 1.0), (False, 0.0)])
    def test_its_ends(self, verdict: bool, agreement: float) -> None:
        assert summary(line(True, verdict)).agreement == agreement

    @pytest.mark.parametrize("lines", [[], [line(None, True)], [line(True, None, reason="no_box")]])
    def test_without_a_labelled_verdict_there_is_none(self, lines: list[Line]) -> None:
        assert summary(*lines).agreement is None
        assert "agreement" not in text_of(summary(*lines))


class TestFigures:
    def test_latency_counts_only_samples_that_were_asked_about(self) -> None:
        lines = [line(None, True, latency=seconds) for seconds in (1.0, 2.0, 3.0)]
        empty = line(None, False, reason="empty_solution", attempts=0, latency=0.0)
        text = text_of(summary(*lines, empty, empty))
        assert re.search(r"latency of a sample +median 2\.000 s, 95 % within 2\.900 s, longest 3\.000 s", text)
        assert "3 for 5 samples" in text

    @pytest.mark.parametrize("count", [0, 1])
    def test_too_few_for_a_distribution(self, count: int) -> None:
        assert "latency" not in text_of(summary(*[line(None, True)] * count))

    def test_speed_is_said_where_the_time_is_known(self) -> None:
        lines = [line(None, True, attempts=3)] * 20
        assert re.search(r"speed +30 requests/s, 10 samples/s", text_of(summary(*lines), seconds=2.0))
        assert "speed" not in text_of(summary(*lines))

    def test_where_all_have_a_verdict_no_reason_is_named(self) -> None:
        assert "because" not in text_of(summary(line(True, True)))

    def test_no_samples(self) -> None:
        assert text_of(summary(), seconds=0.0).strip() == "No sample was judged."
