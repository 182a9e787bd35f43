"""The whole reward function against the mock: verdicts, sleep, aborts, deaths, processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from genrm import Judge, Judgement, Reason, Sample, Settings
from genrm.reward_function import compute_score, compute_score_batch
from mock_server import MockServer

Factory = Callable[..., MockServer]
INFO = {"question": "What is 2 + 2?", "split": "train"}
RIGHT, WRONG = "2 + 2 = 4, so \\boxed{4}", "2 + 2 = 5, so \\boxed{5}"


def samples(count: int) -> list[Sample]:
    """Half of them right, for the mock's arithmetic."""
    return [
        Sample(f"{n} + 2 = {n + 2 + n % 2}, so \\boxed{{{n + 2 + n % 2}}}", str(n + 2), "m", {"question": f"{n} + 2?"})
        for n in range(count)
    ]


async def eventually(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def post(url: str) -> None:
    async with httpx.AsyncClient() as http:
        (await http.post(url)).raise_for_status()


async def judge_all(judge: Judge, rows: list[Sample]) -> list[Judgement]:
    try:
        return await asyncio.gather(*(judge.judge(sample) for sample in rows))
    finally:
        await judge.aclose()


async def test_right_and_wrong(mock_server: MockServer) -> None:
    for solution, score in ((RIGHT, 1.0), (WRONG, 0.0)):
        record = await compute_score("mine", solution, "4", INFO, BASE_URL=mock_server.base_url)
        assert (record["score"], record["genrm_attempts"], record["genrm_fallback"]) == (score, 1, 0)
        assert record["genrm_tokens"] > 0
    assert len(mock_server.requests) == 2


def test_a_batch(mock_server: MockServer) -> None:
    solutions = [RIGHT, WRONG, "", RIGHT]
    records = compute_score_batch(["m"] * 4, solutions, ["4"] * 4, [INFO] * 4, BASE_URL=mock_server.base_url)
    assert [record["score"] for record in records] == [1.0, 0.0, 0.0, 1.0]
    assert len(mock_server.requests) == 2  # one was empty, two were the same


@pytest.mark.parametrize("shape", ["no_box", "two_boxes", "truncated"])
async def test_replies_without_a_verdict_are_asked_again_and_then_left_to_the_rule(
    mock_server_factory: Factory, shape: str
) -> None:
    server = mock_server_factory(scenario={"shapes": {shape: 1.0}})
    record = await compute_score("mine", RIGHT, "4", INFO, BASE_URL=server.base_url)
    assert (record["score"], record["genrm_verdict"], record["genrm_fallback"]) == (1.0, -1, 1)
    assert record["genrm_attempts"] == len(server.requests) == 3


async def test_a_share_of_unreadable_replies_costs_requests_and_no_verdicts(mock_server_factory: Factory) -> None:
    server = mock_server_factory(scenario={"shapes": {"no_box": 0.1, "two_boxes": 0.1, "truncated": 0.1}})
    rows = samples(100)
    judgements = await judge_all(Judge(Settings.load(base_url=server.base_url, max_retries=12)), rows)
    assert [judgement.verdict.value for judgement in judgements] == [n % 2 == 0 for n in range(100)]
    assert len(server.requests) == sum(judgement.attempts for judgement in judgements) > 100


async def test_a_sample_sent_while_the_judge_sleeps_is_judged_when_it_wakes(mock_server: MockServer) -> None:
    await post(f"{mock_server.base_url}/sleep")
    judge = Judge(Settings.load(base_url=mock_server.base_url))
    task = asyncio.ensure_future(judge.judge(samples(1)[0]))
    await eventually(lambda: mock_server.engine.waiting == 1)
    assert not task.done()
    await post(f"{mock_server.base_url}/wake_up")
    assert (await task).verdict.value is True
    await judge.aclose()


async def test_a_judge_that_sleeps_for_good_is_a_timeout_and_no_zero(mock_server: MockServer) -> None:
    await post(f"{mock_server.base_url}/sleep")
    settings: dict[str, Any] = {
        "BASE_URL": mock_server.base_url,
        "REQUEST_TIMEOUT": 0.1,
        "BASE_DELAY": 0,
        "MAX_RETRIES": 2,
    }
    record = await compute_score("mine", RIGHT, "4", INFO, **settings)
    assert (record["score"], record["genrm_verdict"]) == (1.0, -1)  # by the rule
    assert (record["genrm_reason"], record["genrm_attempts"]) == (Reason.TIMEOUT.number, 2)
    await eventually(lambda: mock_server.engine.waiting == 0)


async def test_a_reply_aborted_by_sleep_is_asked_again(mock_server_factory: Factory) -> None:
    server = mock_server_factory(tokens_per_second=50)
    judge = Judge(Settings.load(base_url=server.base_url, base_delay=0, request_timeout=60))
    task = asyncio.ensure_future(judge.judge(samples(1)[0]))
    await eventually(lambda: server.engine.running == 1)
    await post(f"{server.base_url}/sleep")
    await eventually(lambda: server.engine.waiting == 1)  # the second attempt
    assert not task.done()
    server.engine.tokens_per_second = None
    await post(f"{server.base_url}/wake_up")
    judgement = await task
    assert (judgement.verdict.value, judgement.attempts) == (True, 2)
    await judge.aclose()


async def test_one_of_two_servers_dies_and_every_sample_is_judged(mock_server_factory: Factory) -> None:
    first, second = mock_server_factory(tokens_per_second=20_000), mock_server_factory(tokens_per_second=20_000)
    judge = Judge(Settings.load(base_url=[first.base_url, second.base_url], base_delay=0.01, max_retries=20))
    task = asyncio.ensure_future(judge_all(judge, samples(200)))
    await eventually(lambda: len(first.requests) >= 20)
    await asyncio.to_thread(first.stop)
    judgements = await task
    assert [judgement.verdict.value for judgement in judgements] == [n % 2 == 0 for n in range(200)]
    assert len(second.requests) > 100


async def test_requests_are_spread_over_the_servers(mock_server_factory: Factory) -> None:
    servers = [mock_server_factory(tokens_per_second=5_000) for _ in range(2)]
    judge = Judge(Settings.load(base_url=[server.base_url for server in servers]))
    await judge_all(judge, samples(100))
    counts = [len(server.requests) for server in servers]
    assert sum(counts) == 100
    assert min(counts) > 25


async def test_a_wrong_key_is_named_and_not_asked_again(
    mock_server_factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    server = mock_server_factory(api_key="sk-right")
    judge = Judge(Settings.load(base_url=server.base_url, api_key="sk-wrong-key"))
    [judgement] = await judge_all(judge, samples(1))
    assert (judgement.verdict.reason, judgement.attempts) == (Reason.REFUSED, 1)
    assert "HTTP 401: Unauthorized" in str(judgement.failure)
    assert "sk-wrong-key" not in caplog.text
    judge = Judge(Settings.load(base_url=server.base_url, api_key="sk-right"))
    [judgement] = await judge_all(judge, samples(1))
    assert judgement.verdict.value is True


SCRIPT = """
    import asyncio, json, sys
    from genrm.reward_function import compute_score
    async def main():
        rows = json.loads(sys.argv[1])
        return [await compute_score("m", s, "4", {"question": q}) for q, s in rows]
    records = asyncio.run(main())
    print(json.dumps([[r["genrm_verdict"], r["genrm_tokens"]] for r in records]))
"""


def run_script(base_url: str, rows: list[tuple[str, str]], **environment: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT), json.dumps(rows)],
        env={**os.environ, "GENRM_BASE_URL": base_url, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_see_the_same_verdicts_and_leave_nothing_open(mock_server_factory: Factory) -> None:
    """With warnings as errors, an unclosed connection would be reported."""
    server = mock_server_factory(scenario={"errors": {"false_true": 0.3, "false_false": 0.3}})
    rows = [(sample.problem, sample.solution) for sample in samples(20)]
    processes = [run_script(server.base_url, rows, PYTHONHASHSEED=str(seed)) for seed in range(3)]
    outputs = [process.communicate() for process in processes]
    assert [stderr for _, stderr in outputs] == [""] * 3
    assert len({stdout for stdout, _ in outputs}) == 1
    assert len({verdict for verdict, _ in json.loads(outputs[0][0])}) == 2


async def fails(call: Awaitable[object]) -> BaseException | None:
    try:
        await call
    except BaseException as error:
        return error
    return None


async def test_cancelling_a_sample_drops_its_request(mock_server: MockServer) -> None:
    await post(f"{mock_server.base_url}/sleep")
    task = asyncio.ensure_future(compute_score("m", RIGHT, "4", INFO, BASE_URL=mock_server.base_url))
    await eventually(lambda: mock_server.engine.waiting == 1)
    task.cancel()
    assert isinstance(await fails(task), asyncio.CancelledError)
    await eventually(lambda: mock_server.engine.waiting == 0)


SYNC = """
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from genrm.reward_function import compute_score_sync
    def score(n):
        return compute_score_sync("m", f"2 + {n} = {n + 2}", str(n + 2), {"question": f"2 + {n}?", "split": "train"})
    with ThreadPoolExecutor(4) as threads:
        print([record["score"] for record in threads.map(score, range(4))])
"""


def test_callers_that_cannot_await(mock_server: MockServer, tmp_path: Path) -> None:
    """In threads; the judge sleeps with the batch's last, and the process ends without a word."""
    variables = {
        "GENRM_BASE_URL": mock_server.base_url,
        "GENRM_USE_OFFLOAD": "1",
        "GENRM_BATCH_SIZE": "4",
        "GENRM_OFFLOAD_DIR": str(tmp_path),
        "GENRM_CANARY": "off",
    }
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SYNC)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[1.0, 1.0, 1.0, 1.0]\n", "")
    assert mock_server.engine.is_sleeping
