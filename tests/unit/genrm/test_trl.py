"""The door that TRL knocks on, without TRL."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx

from genrm import GenRM, NoVerdictError, SampleError, SettingsError
from genrm.trl import reward, reward_function
from tests_support import BASE_URL, CHAT, completion

PROMPT = "What is 2 + 2?"
TRUE = completion("\\boxed{True}")


@pytest.fixture(autouse=True)
def _judge_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRM_BASE_URL", BASE_URL)
    monkeypatch.setenv("GENRM_BASE_DELAY", "0")


def asked(route: respx.Route) -> list[tuple[str, str]]:
    """The problems and solutions that the judge was shown."""
    contents = [json.loads(call.request.content)["messages"][0]["content"] for call in route.calls]
    return [(content.split("[Math Problem]\n\n")[1].split("\n\n[")[0], solution_in(content)) for content in contents]


def solution_in(content: str) -> str:
    return content.split("[AI Solution]\n\n")[1].split("\n\nYour task")[0]


def by_solution(request: httpx.Request) -> httpx.Response:
    """True for solutions that end in 4, nothing for those that end in a question mark."""
    solution = solution_in(json.loads(request.content)["messages"][0]["content"])
    return completion("I cannot tell." if solution.endswith("?") else f"\\boxed{{{solution.endswith('4')}}}")


def user(text: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def assistant(text: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


async def test_rewards_in_order_and_none_without_a_verdict(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=by_solution)
    prompts, completions = [PROMPT] * 4, ["4", "5", "5?", "not 4"]
    assert await reward(prompts=prompts, completions=completions) == [1.0, 0.0, None, 1.0]


async def test_conversations(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    examples = [
        {"role": "system", "content": "Be brief."},
        *user("What is 1 + 1?"),
        *assistant("2"),
        *user([{"type": "image"}, {"type": "text", "text": PROMPT}]),
    ]
    with_a_tool = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "\\boxed{True}"},
        *assistant("It is"),
        *assistant([{"type": "text", "text": "four"}]),
    ]
    assert await reward(prompts=[examples], completions=[with_a_tool]) == [1.0]
    assert asked(route) == [(PROMPT, "It is\n\nfour")]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"question": ["Q"], "problem": ["P"]}, "Q"),
        ({"problem": ["P"], "level": [3]}, "P"),
        ({"problem": [""]}, PROMPT),
        ({}, PROMPT),
    ],
)
async def test_where_the_problem_is(judge_server: respx.MockRouter, columns: dict[str, Any], problem: str) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    await reward(prompts=[user(PROMPT)], completions=[assistant("4")], **columns)
    assert asked(route) == [(problem, "4")]


@pytest.mark.parametrize(
    ("columns", "truth"),
    [
        ({"solution": ["s"], "answer": ["a"], "ground_truth": ["g"]}, "g"),
        ({"solution": ["s"], "answer": ["a"], "ground_truth": [None]}, "a"),
        ({"solution": ["s"]}, "s"),
    ],
)
async def test_where_the_truth_is(judge_server: respx.MockRouter, columns: dict[str, Any], truth: str) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    function = reward_function(INCLUDE_REFERENCE=True)
    await function(prompts=[PROMPT], completions=["4"], **columns)
    assert f"[Reference Answer]\n\n{truth}\n" in json.loads(route.calls.last.request.content)["messages"][0]["content"]


async def test_a_validation_split_is_scored_by_rule(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    columns: dict[str, Any] = {"split": ["test", "train"], "answer": ["4", "4"]}
    assert await reward(prompts=[PROMPT] * 2, completions=["so \\boxed{5}"] * 2, **columns) == [0.0, 1.0]
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("policy", "score"), [("rule", 1.0), ("zero", 0.0), ("-0.5", -0.5), ("nan", None), ("skip", None)]
)
@pytest.mark.parametrize("said", ["variable", "argument"])
async def test_no_verdict_pays_what_somebody_said(
    judge_server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, policy: str, score: float | None, said: str
) -> None:
    judge_server.post(CHAT).mock(return_value=completion("I cannot tell."))
    if said == "variable":
        monkeypatch.setenv("GENRM_ON_NO_VERDICT", policy)
        function = reward
    else:
        function = reward_function(on_no_verdict=policy)
    assert await function(prompts=[PROMPT], completions=["\\boxed{4}"], answer=["4"]) == [score]


async def test_no_verdict_raises_if_told_to(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=by_solution)
    function = reward_function(GENRM_ON_NO_VERDICT="raise")
    with pytest.raises(NoVerdictError):
        await function(prompts=[PROMPT] * 2, completions=["5?", "4"])


async def test_what_trl_logs(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=by_solution)
    table: dict[str, list[Any]] = {}
    metrics: dict[str, float] = {}
    await reward_function("judge", max_retries=2)(
        prompts=[PROMPT] * 4,
        completions=["4", "5", "5?", ""],
        log_extra=table.__setitem__,
        log_metric=metrics.__setitem__,
        trainer_state=object(),
        completion_ids=[[1]] * 4,
    )
    assert table == {
        "judge_verdict": ["True", "False", "none", "False"],
        "judge_reason": ["ok", "ok", "no_box", "empty_solution"],
    }
    assert metrics.pop("judge/latency") > 0
    assert metrics == {
        "judge/verdict_true": 0.25,
        "judge/verdict_false": 0.5,
        "judge/verdict_none": 0.25,
        "judge/verdict_mean": pytest.approx(1 / 3),
        "judge/attempts": 1.0,
        "judge/tokens": 10.0,
    }


def test_trl_sees_an_async_callable_with_a_name() -> None:
    function: Callable[..., Any] = reward
    assert inspect.iscoroutinefunction(type(function).__call__)
    assert (function.__name__, reward_function("mine").__name__) == ("genrm", "mine")


def forty_two(reply: str) -> float | None:
    return 1.0 if "42" in reply else None


async def test_a_genrm_of_ones_own(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=completion("I say 42."))
    mine = GenRM(prompt="{problem} - {solution}", parse=forty_two)
    function = reward_function("mine", mine)
    for one in (function, pickle.loads(pickle.dumps(function))):
        assert await one(prompts=[PROMPT], completions=["4"]) == [1.0]
        assert json.loads(route.calls.last.request.content)["messages"][0]["content"].endswith(" - 4")


async def test_marks_are_logged_as_they_are(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=completion("fine"))
    table: dict[str, list[Any]] = {}
    metrics: dict[str, float] = {}
    function = reward_function("mine", GenRM(prompt="{problem} - {solution}", parse=lambda _answer: 0.75))
    await function([PROMPT], ["4"], log_extra=table.__setitem__, log_metric=metrics.__setitem__)
    assert table["mine_verdict"] == ["0.75"]
    assert metrics["mine/verdict_mean"] == 0.75


async def test_it_pickles(judge_server: respx.MockRouter) -> None:
    route = judge_server.post("http://other:1/v1/chat/completions").mock(return_value=TRUE)
    function = pickle.loads(pickle.dumps(reward_function("mine", BASE_URL="http://other:1")))
    assert await function(prompts=[PROMPT], completions=["4"]) == [1.0]
    assert (function.__name__, route.call_count) == ("mine", 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MAX_WORKER": 8}, "did you mean MAX_WORKERS"),
        ({"zzz": 1}, "zzz is not a setting"),
        ({"MAX_WORKERS": 0}, "was 0"),
    ],
)
def test_a_wrong_setting_is_told_when_the_function_is_made(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        reward_function(**settings)


@pytest.mark.parametrize(
    ("prompt", "solution", "words"),
    [([], "4", "holds no problem"), (PROMPT, 4, "but is int"), (" ", assistant("4"), "holds no problem")],
)
async def test_bad_input(judge_server: respx.MockRouter, prompt: Any, solution: Any, words: str) -> None:
    with pytest.raises(SampleError, match=words):
        await reward(prompts=[prompt], completions=[solution])


def test_neither_torch_nor_trl_is_imported() -> None:
    code = "import sys, genrm.trl; sys.exit(bool({'torch', 'trl', 'transformers', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
