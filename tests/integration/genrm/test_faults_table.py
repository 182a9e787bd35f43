"""What the reward function makes of each fault of the mock. docs/faults.md holds the same table, and this checks it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from genrm import NoVerdictError, OffloadError, Reason
from genrm.offload import ledger, servers, vllm
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


# --- faults on the endpoints that the judge is put to sleep and woken by ---

CONTROL_FAULTS: dict[str, Any] = {
    "status 500": {"status": 500},
    "hang": "hang",
    "reset": "reset",
    "close": "close",
    "latency": {"latency": 0.05},
    "invalid_json": "invalid_json",
    "engine_death": {"engine_death": {"restart_after_s": 0.1}},
}
ENDPOINTS = ("/is_sleeping", "/version", "/wake_up", "/sleep")
FINE, AWAKE, VERDICT = "verdict, asleep", "verdict, awake", "verdict"
TIMEOUT, REFUSED = "no verdict: timeout", "OffloadRefused"


def expected(endpoint: str, fault: str, once: bool) -> str:
    """What becomes of a batch of one sample, and of the judge after it."""
    if (endpoint, fault) == ("/version", "invalid_json"):
        return REFUSED
    if (endpoint, fault) == ("/sleep", "engine_death"):
        return VERDICT  # whether it is gone, awake or asleep by then is a matter of moments
    harmless = fault == "latency" or (fault == "invalid_json" and endpoint in ("/wake_up", "/sleep"))
    # Of a server that dies with each /wake_up the next one is awake from the start.
    if once or harmless or (endpoint, fault) == ("/wake_up", "engine_death"):
        return FINE
    return AWAKE if endpoint == "/sleep" else TIMEOUT


async def outcome_of(server: MockServer, folder: Path, outcome: str) -> str:
    """Score a batch of one sample, whose judge sleeps; it gets time where it needs it."""
    settings: dict[str, Any] = {
        "BASE_URL": server.base_url,
        "USE_OFFLOAD": True,
        "OFFLOAD_DIR": str(folder),
        "OFFLOAD_LEDGER": "file",
        "CANARY": "off",
        "BATCH_SIZE": 1,
        "WAKE_TIMEOUT": 0.4 if outcome == TIMEOUT else 60,
        "SLEEP_TIMEOUT": 60 if outcome == FINE else 0.4,
        "DRAIN_TIMEOUT": 0.2,
        "ON_NO_VERDICT": "raise",
    }
    try:
        await asyncio.wait_for(compute_score("mine", RIGHT, "4", INFO, **settings), 120)
    except NoVerdictError as error:
        return f"no verdict: {error.reason}"
    except OffloadError as error:
        return type(error).__name__
    return VERDICT if outcome == VERDICT else FINE if server.engine.asleep else AWAKE


@pytest.mark.parametrize("once", [True, False], ids=["the first call", "every call"])
@pytest.mark.parametrize("fault", CONTROL_FAULTS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_control_endpoint_meets_the_fault(
    mock_server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, fault: str, once: bool
) -> None:
    monkeypatch.setattr(ledger, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(servers, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(vllm, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(servers.Control.call, "__defaults__", (0.5 if fault == "hang" else 30.0, None))
    httpx.post(mock_server.base_url + "/sleep")
    outcome = expected(endpoint, fault, once)
    times = {"times": 1} if once else {}
    with mock_server.faults({"match": {"path": endpoint}, "fault": CONTROL_FAULTS[fault], **times}):
        assert asyncio.run(outcome_of(mock_server, tmp_path, outcome)) == outcome


def test_the_docs_say_the_same_of_control_endpoints() -> None:
    lines = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `/")]
    told = {}
    for line in lines:
        endpoints, faults, first, every, _why = (cell.strip() for cell in line.strip("|").split("|"))
        for endpoint in re.findall(r"`([^`]+)`", endpoints):
            for fault in re.findall(r"`([^`]+)`( 500)?", faults):
                assert (endpoint, "".join(fault)) not in told
                told[endpoint, "".join(fault)] = (first.replace("`", ""), every.replace("`", ""))
    assert told == {
        (endpoint, fault): (expected(endpoint, fault, True), expected(endpoint, fault, False))
        for endpoint in ENDPOINTS
        for fault in CONTROL_FAULTS
    }
