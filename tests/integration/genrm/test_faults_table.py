"""What the reward function makes of each fault of the mock. docs/faults.md holds the same table, and this checks it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genrm import Reason
from genrm.reward_function import compute_score
from mock_server import MockServer
from mock_server.faults.schema import KINDS

DOCS = Path(__file__, "../../../../docs/faults.md").resolve()
INFO = {"question": "What is 2 + 2?", "split": "train"}
RIGHT = "2 + 2 = 4, so \\boxed{4}"


class Outcome(NamedTuple):
    """What a sample comes to whose every call meets the fault: why there is no verdict, and after how many calls."""

    reason: str
    calls: int


RETRIES = 3
# By the text of the docs' first column.
FAULTS: dict[str, tuple[Any, Outcome]] = {
    "status 503": ({"status": {"code": 503, "retry_after": 0}}, Outcome("overloaded", RETRIES)),
    "status 429": ({"status": {"code": 429, "retry_after": 0}}, Outcome("overloaded", RETRIES)),
    "status 500": ({"status": 500}, Outcome("overloaded", RETRIES)),
    "status 400": ({"status": 400}, Outcome("refused", 1)),
    "status 404": ({"status": 404}, Outcome("refused", 1)),
    "latency, short": ({"latency": {"seconds": 0.02, "jitter": 0.02}}, Outcome("ok", 1)),
    "latency, beyond REQUEST_TIMEOUT": ({"latency": 3600}, Outcome("timeout", RETRIES)),
    "hang": ("hang", Outcome("timeout", RETRIES)),
    "drip": ({"drip": {"bytes": 1, "seconds": 60}}, Outcome("timeout", RETRIES)),
    "reset": ("reset", Outcome("unreachable", RETRIES)),
    "reset in the body": ({"reset": {"after": 0.5}}, Outcome("unreachable", RETRIES)),
    "close": ("close", Outcome("unreachable", RETRIES)),
    "cut, fixed length": ("cut", Outcome("unreachable", RETRIES)),
    "cut, chunked": ({"cut": {"framing": "chunked"}}, Outcome("unreachable", RETRIES)),
    # aiohttp 3.14 does not notice a bad chunk that it reads apart from the headers: then the deadline ends it.
    "malformed_chunk": ("malformed_chunk", Outcome("unreachable or timeout", RETRIES)),
    "content_type": ("content_type", Outcome("ok", 1)),
    "invalid_json": ("invalid_json", Outcome("bad_reply", RETRIES)),
    "empty_choices": ("empty_choices", Outcome("bad_reply", RETRIES)),
    "null_content": ("null_content", Outcome("empty", RETRIES)),
    "finish_reason abort, a whole verdict": (
        {"finish_reason": {"reason": "abort", "keep": 1}},
        Outcome("aborted", RETRIES),
    ),
    "finish_reason abort, half the text": ({"finish_reason": "abort"}, Outcome("aborted", RETRIES)),
    "finish_reason length, a whole verdict": (
        {"finish_reason": {"reason": "length", "keep": 1}},
        Outcome("truncated", RETRIES),
    ),
    "finish_reason content_filter, a whole verdict": (
        {"finish_reason": {"reason": "content_filter", "keep": 1}},
        Outcome("unfinished", RETRIES),
    ),
    "done_missing": ("done_missing", Outcome("ok", 1)),
    "error_event": ("error_event", Outcome("bad_reply", RETRIES)),
    "engine_death": ("engine_death", Outcome("unreachable", RETRIES)),
}


async def score(server: MockServer, timeout: float) -> dict[str, float]:
    """One sample; a call that never ends fails the test rather than hanging it."""
    settings: dict[str, Any] = {
        "BASE_URL": server.base_url,
        "MAX_RETRIES": RETRIES,
        "BASE_DELAY": 0,
        "REQUEST_TIMEOUT": timeout,
    }
    return await asyncio.wait_for(compute_score("mine", RIGHT, "4", INFO, **settings), 120)


def timeout_for(outcome: Outcome) -> float:
    """Short where it must pass; else so long that a loaded machine does not come into it."""
    return 0.3 if "timeout" in outcome.reason else 30.0


@pytest.mark.parametrize("name", FAULTS)
async def test_every_call_meets_the_fault(mock_server: MockServer, name: str) -> None:
    fault, outcome = FAULTS[name]
    with mock_server.faults({"fault": fault}):
        record = await score(mock_server, timeout_for(outcome))
    assert record["genrm_reason"] in [Reason[word.upper()].number for word in outcome.reason.split(" or ")]
    assert record["genrm_attempts"] == outcome.calls
    assert record["genrm_verdict"] == (1 if outcome.reason == "ok" else -1)
    assert (record["score"], record["genrm_fallback"]) == (1.0, outcome.reason != "ok")  # else by the rule


# A dead engine does not come back between two calls without a pause: it has a test of its own.
@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name][1].calls > 1 and name != "engine_death"])
async def test_the_first_call_alone_meets_the_fault(mock_server: MockServer, name: str) -> None:
    """Then there is a verdict. A reminder makes another content of the next call, so it is matched out."""
    fault, outcome = FAULTS[name]
    with mock_server.faults({"fault": fault, "times": 1, "match": {"content": {"regex": "^(?!.*This is attempt)"}}}):
        # The second call must not be cut off on a loaded machine; the first one waits that long for nothing.
        record = await score(mock_server, 2.0 if "timeout" in outcome.reason else 30.0)
    assert (record["genrm_verdict"], record["genrm_reason"], record["genrm_fallback"]) == (1, Reason.OK.number, 0)
    assert record["genrm_attempts"] == 2


async def test_a_server_that_comes_back_is_asked_again(mock_server: MockServer) -> None:
    """A dead engine, and one that listens again after a while: within the pauses between calls there is a verdict."""
    settings: dict[str, Any] = {"BASE_URL": mock_server.base_url, "MAX_RETRIES": 12, "BASE_DELAY": 0.02}
    with mock_server.faults({"fault": {"engine_death": {"restart_after_s": 0.05}}, "times": 1}):
        record = await asyncio.wait_for(compute_score("mine", RIGHT, "4", INFO, **settings), 120)
    assert (record["genrm_verdict"], record["genrm_fallback"]) == (1, 0)
    assert record["genrm_attempts"] >= 2


def rows() -> dict[str, tuple[str, str]]:
    """The docs' table: fault -> reason, calls."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCS.read_text("utf-8").splitlines()]
    return {
        row[0].replace("`", ""): (row[1].replace("`", ""), row[2])
        for row in cells
        if len(row) == 4 and row[2].isdigit()
    }


def test_the_docs_say_the_same() -> None:
    assert rows() == {name: (outcome.reason, str(outcome.calls)) for name, (_, outcome) in FAULTS.items()}


def test_every_kind_is_in_the_table(mock_server_factory: Callable[..., MockServer]) -> None:
    named = {re.split(r"[ ,]", name)[0] for name in FAULTS}
    assert named == set(KINDS)
