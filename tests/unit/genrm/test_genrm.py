"""A GenRM of one's own: its prompt, its parser, its reward."""

from __future__ import annotations

import inspect
import json
import logging
import math
from typing import Any

import pytest
import respx

from genrm import GenRM, Reason, Sample, SettingsError, TemplateError
from tests_support import BASE_URL, CHAT, completion

PROMPT = "Mark it. {problem} / {solution} / end with MARK and a number"
INFO = {"question": "What is 2 + 2?", "split": "train"}


def parse(answer: str) -> float | None:
    _, mark, number = answer.rpartition("MARK ")
    return float(number) if mark else None


@pytest.fixture(autouse=True)
def _judge_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRM_BASE_URL", BASE_URL)
    monkeypatch.setenv("GENRM_BASE_DELAY", "0")


def asked(server: respx.MockRouter) -> list[str]:
    return [json.loads(call.request.content)["messages"][0]["content"] for call in server.calls]


def test_verl_sees_a_coroutine_function() -> None:
    assert inspect.iscoroutinefunction(GenRM().compute_score)


async def test_prompt_parser_and_reward(judge_server: respx.MockRouter) -> None:
    def reward(mark: float, sample: Sample) -> float:
        return 2 * mark - len(sample.solution)

    judge_server.post(CHAT).mock(return_value=completion("<think>MARK 1</think>Not bad. MARK 0.75"))
    record = await GenRM(PROMPT, parse, reward).compute_score("mine", "four", "4", INFO)
    assert (record["score"], record["acc"], record["genrm_verdict"], record["genrm_fallback"]) == (-2.5, -2.5, 0.75, 0)
    assert asked(judge_server) == ["Mark it. What is 2 + 2? / four / end with MARK and a number"]


async def test_a_reward_alone(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=completion("\\boxed{True}"))
    record = await GenRM(reward=lambda value, _: -value).compute_score("mine", "four", "4", INFO)
    assert (record["score"], record["genrm_verdict"]) == (-1.0, 1)
    assert "[Math Problem]" in asked(judge_server)[0]


@pytest.mark.parametrize("reply", ["no idea", "MARK 7", "MARK -0.1", "MARK nan", "MARK seven"])
async def test_what_the_parser_does_not_know_is_asked_again(judge_server: respx.MockRouter, reply: str) -> None:
    judge_server.post(CHAT).mock(side_effect=[completion(reply), completion("MARK 0.5")])
    record = await GenRM(PROMPT, parse).compute_score("mine", "four", "4", INFO)
    assert (record["score"], record["genrm_attempts"]) == (0.5, 2)
    assert "end your reply exactly as you were told to above" in asked(judge_server)[1]
    assert "boxed" not in asked(judge_server)[1]


async def test_a_parser_that_fails_is_heard_of(
    judge_server: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    judge_server.post(CHAT).mock(return_value=completion("MARK seven"))
    with caplog.at_level(logging.ERROR):
        record = await GenRM(PROMPT, parse).compute_score("mine", "four", "4", INFO, MAX_RETRIES=1, ON_NO_VERDICT=-1)
    assert (record["score"], record["genrm_reason"]) == (-1.0, Reason.OFF_VOCABULARY.number)
    assert "a parser failed" in caplog.text


@pytest.mark.parametrize("value", ["True", [1], {}, 7, -1, math.nan])
async def test_what_is_no_number_from_0_to_1_is_no_verdict(judge_server: respx.MockRouter, value: Any) -> None:
    judge_server.post(CHAT).mock(return_value=completion("Mark: 7"))
    model = GenRM(PROMPT, lambda _answer: value)
    record = await model.compute_score("mine", "four", "4", INFO, MAX_RETRIES=1, ON_NO_VERDICT=-1)
    assert (record["score"], record["genrm_reason"]) == (-1.0, Reason.OFF_VOCABULARY.number)


async def test_a_reply_that_was_cut_short_is_not_parsed(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=completion("MARK 1", finish_reason="length"))
    record = await GenRM(PROMPT, parse).compute_score("mine", "four", "4", INFO, MAX_RETRIES=1)
    assert (record["genrm_verdict"], record["genrm_reason"]) == (-1, Reason.TRUNCATED.number)


def test_a_prompt_that_cannot_serve_is_refused_at_once() -> None:
    with pytest.raises(TemplateError, match=r"\{solution\} is missing"):
        GenRM("Mark {problem}", parse)
    with pytest.raises(TemplateError, match="boxed"):  # genrm's own parser wants it
        GenRM(PROMPT)


@pytest.mark.parametrize(
    ("settings", "words", "error"),
    [
        ({"PROMPT_TEMPLATE": "{problem} {solution} \\boxed{}"}, "has a prompt of its own", SettingsError),
        ({"INCLUDE_REFERENCE": True}, r"\{reference\} is missing", TemplateError),
    ],
)
async def test_settings_that_do_not_go_with_it(settings: dict[str, Any], words: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=words):
        await GenRM(PROMPT, parse).compute_score("mine", "four", "4", INFO, **settings)
