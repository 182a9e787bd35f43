"""Samples for the mock, a plan of what goes wrong, and what the mock's journal says that a sample's verdict is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from in_verl.reward_loops import Row
from mock_server.journal import Exchange

TRANSIENT: list[dict[str, Any]] = [
    {"when": {"share": 0.05}, "fault": fault}
    for fault in (
        "reset",
        {"reset": {"after": 0.5}},
        "close",
        "cut",
        {"cut": {"framing": "chunked"}},
        {"status": 500},
        {"status": {"code": 503, "retry_after": 0}},
        {"status": {"code": 429, "retry_after": 0}},
        "invalid_json",
        "empty_choices",
        "null_content",
        {"finish_reason": "abort"},
        {"finish_reason": {"reason": "length", "keep": 1}},
        "error_event",
        "content_type",
        {"latency": 0.05},
    )
]
"""Half of all calls meet one of them."""
SHAPES = {"no_box": 0.05, "two_boxes": 0.05, "truncated": 0.05}
_HARMLESS = {"content_type", "latency"}


def sums(count: int, start: int = 0) -> list[Row]:
    """So many additions, every third one wrong."""
    rows = []
    for number in range(start, start + count):
        right = number + 17
        said = right + (number % 3 == 0)
        rows.append(Row(f"What is {number} + 17?", f"{number} + 17 = {said}, so \\boxed{{{said}}}.", str(right)))
    return rows


def verdicts(journal: Iterable[Exchange], rows: Sequence[Row]) -> list[int]:
    """What the judge made of each row: 1 right, 0 wrong, -1 where none of its answers arrived whole and held a verdict.

    Problems must differ. Of a call that a fault befell before it was read, the journal does not know for whom it was.
    """
    found = {row.problem: -1 for row in rows}
    for exchange in journal:
        if _is_whole(exchange):
            [answer], content = exchange.answers, exchange.messages[0][1]
            found.update({problem: int(bool(answer.verdict)) for problem in found if f"\n{problem}\n" in content})
    return [found[row.problem] for row in rows]


def _is_whole(exchange: Exchange) -> bool:
    spoilt = any(fault["kind"] not in _HARMLESS for fault in exchange.faults)
    return not spoilt and exchange.answers[0].shape not in SHAPES
