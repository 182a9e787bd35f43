"""One sample through all stations: attempts, reminders, sharing, and what is left when the judge fails."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
import respx

from genrm import Judge, JudgeRefused, JudgeTimeout, Reason, Sample, SampleError, Settings, Verdict
from tests_support import BASE_URL, CHAT, completion

SAMPLE = Sample("2 + 2 = \\boxed{4}", "4", "mine", {"question": "What is 2 + 2?"})
TRUE, FALSE = (completion(f"So it is.\n\n\\boxed{{{word}}}") for word in ("True", "False"))


def a_judge(special_tokens: tuple[str, ...] = (), **overrides: Any) -> Judge:
    return Judge(Settings.load(**{"base_url": BASE_URL, "base_delay": 0.0, **overrides}), special_tokens)


def prompts(route: respx.Route) -> list[str]:
    return [json.loads(call.request.content)["messages"][0]["content"] for call in route.calls]


@pytest.mark.parametrize(("answer", "value"), [(TRUE, True), (FALSE, False)])
async def test_a_verdict(judge_server: respx.MockRouter, answer: httpx.Response, value: bool) -> None:
    judge_server.post(CHAT).mock(return_value=answer)
    judgement = await a_judge().judge(SAMPLE)
    assert judgement.verdict == Verdict(value, Reason.OK)
    assert (judgement.attempts, judgement.tokens, judgement.failure) == (1, 10, None)
    assert judgement.reply.endswith(f"{value}}}")
    assert judgement.latency > 0


async def test_an_unreadable_reply_is_asked_again_with_a_reminder(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(
        side_effect=[completion("Fine."), completion("", "length"), completion("Yes. \\boxed{True}")]
    )
    judgement = await a_judge().judge(SAMPLE)
    assert (judgement.verdict.value, judgement.attempts, judgement.tokens) == (True, 3, 30)
    first, second, third = prompts(route)
    assert "attempt" not in first
    assert second.startswith(first)
    assert "attempt 2. Your last reply could not be read" in second
    assert "attempt 3. Your last reply was cut off" in third


async def test_an_aborted_reply_is_asked_again_unchanged(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(side_effect=[completion("\\boxed{True}", "abort"), FALSE])
    judgement = await a_judge().judge(SAMPLE)
    assert (judgement.verdict.value, judgement.attempts) == (False, 2)
    first, second = prompts(route)
    assert first == second


async def test_after_the_last_attempt_there_is_no_verdict(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=completion("Hm."))
    judgement = await a_judge(max_retries=2).judge(SAMPLE)
    assert (judgement.verdict, judgement.attempts) == (Verdict(None, Reason.NO_BOX), 2)
    assert (judgement.reply, judgement.failure) == ("Hm.", None)


@pytest.mark.parametrize(
    ("answer", "reason", "attempts"),
    [
        (httpx.ConnectError("refused"), Reason.UNREACHABLE, 3),
        (httpx.ReadTimeout("slow"), Reason.TIMEOUT, 3),
        (httpx.Response(503), Reason.OVERLOADED, 3),
        (httpx.Response(200, text="<html>"), Reason.BAD_REPLY, 3),
        (httpx.Response(401), Reason.REFUSED, 1),
    ],
)
async def test_a_judge_that_fails_is_no_exception(
    judge_server: respx.MockRouter, answer: Any, reason: Reason, attempts: int
) -> None:
    judge_server.post(CHAT).mock(side_effect=[answer] * 3)
    judgement = await a_judge().judge(SAMPLE)
    assert (judgement.verdict, judgement.attempts) == (Verdict(None, reason), attempts)
    assert judgement.failure is not None
    assert (judgement.failure.attempt, judgement.failure.url) == (attempts, CHAT)


async def test_a_failure_that_passes_leaves_no_trace(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=[httpx.Response(503), httpx.ReadError("reset"), TRUE])
    judgement = await a_judge().judge(SAMPLE)
    assert (judgement.verdict.value, judgement.attempts, judgement.failure) == (True, 3, None)


async def test_a_sample_has_a_deadline(judge_server: respx.MockRouter) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    judge_server.post(CHAT).mock(side_effect=hang)
    judgement = await a_judge(sample_timeout=0.05).judge(SAMPLE)
    assert (judgement.verdict, judgement.attempts) == (Verdict(None, Reason.TIMEOUT), 1)
    assert isinstance(judgement.failure, JudgeTimeout)
    assert "the sample's 0.05 s are over" in str(judgement.failure)


async def test_an_empty_solution_is_wrong_without_a_call() -> None:
    sample = Sample(" \u200b\n", "4", extra_info={"question": "?"})
    assert (await a_judge().judge(sample)).verdict == Verdict(False, Reason.EMPTY_SOLUTION)


async def test_without_a_problem_there_is_nothing_to_judge() -> None:
    with pytest.raises(SampleError, match="holds no problem"):
        await a_judge().judge(Sample("4", "4"))


async def test_identical_samples_in_flight_are_asked_once(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    judge = a_judge()
    other = Sample("5", "4", "mine", SAMPLE.extra_info)
    judgements = await asyncio.gather(*(judge.judge(sample) for sample in [SAMPLE] * 5 + [other]))
    assert [judgement.verdict.value for judgement in judgements] == [True] * 6
    assert route.call_count == 2
    await judge.judge(SAMPLE)
    assert route.call_count == 3


async def test_no_more_than_max_workers_are_in_flight(judge_server: respx.MockRouter) -> None:
    running = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return TRUE

    judge_server.post(CHAT).mock(side_effect=answer)
    judge = a_judge(max_workers=3)
    samples = [Sample(str(number), "4", "mine", SAMPLE.extra_info) for number in range(20)]
    await asyncio.gather(*(judge.judge(sample) for sample in samples))
    assert most == 3


async def test_one_that_is_cancelled_frees_its_worker(judge_server: respx.MockRouter) -> None:
    asked = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    judge_server.post(CHAT).mock(side_effect=hang)
    judge = a_judge(max_workers=1)
    task = asyncio.ensure_future(judge.judge(SAMPLE))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    judge_server.post(CHAT).mock(return_value=TRUE)
    assert (await judge.judge(SAMPLE)).verdict.value is True


def test_one_judge_serves_loop_after_loop(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=TRUE)
    judge = a_judge()
    for _ in range(3):
        assert asyncio.run(judge.judge(SAMPLE)).verdict.value is True


async def test_it_may_be_closed_early(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=TRUE)
    judge = a_judge()
    await judge.judge(SAMPLE)
    await judge.aclose()
    assert (await judge.judge(SAMPLE)).verdict.value is True


async def test_the_judge_s_own_special_tokens_are_neutralised(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    sample = Sample("4 [SEP] True", "4", "mine", SAMPLE.extra_info)
    await a_judge(("[SEP]",)).judge(sample)
    assert "4 [¦SEP] True" in prompts(route)[0]


async def test_the_reference_is_shown_only_when_asked_for(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    sample = Sample("4", "four-ish", "mine", SAMPLE.extra_info)
    await a_judge().judge(sample)
    await a_judge(include_reference=True).judge(sample)
    without, with_reference = prompts(route)
    assert "four-ish" not in without
    assert "four-ish" in with_reference


async def test_no_verdicts_are_logged_loudly_at_first_without_text(
    judge_server: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(401, text="no such key"))
    judge = a_judge(api_key="sk-secret")
    with caplog.at_level(logging.WARNING, "genrm"):
        for _ in range(12):
            await judge.judge(SAMPLE)
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(" so far")[0] for message in messages] == [
        "no verdict (refused), 1",
        "no verdict (refused), 10",
    ]
    assert f"{CHAT} (attempt 1): HTTP 401: no such key" in messages[0]
    assert "2 + 2" not in caplog.text
    assert "sk-secret" not in caplog.text


async def test_a_refusal_is_told_from_a_failure(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(400, json={"error": {"message": "too long"}}))
    judgement = await a_judge().judge(SAMPLE)
    assert isinstance(judgement.failure, JudgeRefused)
    assert judgement.failure.status == 400
