"""The door that verl knocks on."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

import genrm.reward_function
from genrm import SampleError, SettingsError
from genrm.reward_function import compute_score, compute_score_batch, compute_score_sync
from tests_support import BASE_URL, CHAT, completion

INFO = {"question": "What is 2 + 2?", "split": "train"}
TRUE = completion("\\boxed{True}")


@pytest.fixture(autouse=True)
def _judge_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRM_BASE_URL", BASE_URL)
    monkeypatch.setenv("GENRM_BASE_DELAY", "0")


def by_solution(request: httpx.Request) -> httpx.Response:
    """True for solutions that end in 4."""
    content = json.loads(request.content)["messages"][0]["content"]
    solution = content.split("[AI Solution]\n\n")[1].split("\n\nYour task")[0]
    return completion(f"\\boxed{{{solution.endswith('4')}}}")


def test_verl_sees_a_coroutine_function() -> None:
    assert inspect.iscoroutinefunction(compute_score)
    for function in (compute_score_batch, compute_score_sync):
        assert not inspect.iscoroutinefunction(function)


async def test_as_verl_calls_it(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=TRUE)
    record = await compute_score(data_source="mine", solution_str="4", ground_truth="4", extra_info=INFO)
    assert (record["score"], record["genrm_verdict"]) == (1.0, 1)


def test_the_file_by_path_as_verl_runs_it(judge_server: respx.MockRouter) -> None:
    """verl executes the file and does not put the module into sys.modules."""
    judge_server.post(CHAT).mock(return_value=TRUE)
    spec = importlib.util.spec_from_file_location("custom_module", str(genrm.reward_function.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert asyncio.run(module.compute_score("mine", "4", "4", INFO))["score"] == 1.0


@pytest.mark.parametrize("split", ["test", "val"])
async def test_validation_is_scored_by_rule_unless_told_otherwise(
    judge_server: respx.MockRouter, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = judge_server.post(CHAT).mock(return_value=TRUE)
    info = {"split": split}
    record = await compute_score("mine", "so \\boxed{5}", "4", info)
    assert (record["score"], record["genrm_reason"], route.call_count) == (0.0, 31, 0)
    monkeypatch.setenv("GENRM_VALIDATION", "judge")
    record = await compute_score("mine", "so \\boxed{5}", "4", {**info, **INFO, "split": split})
    assert (record["score"], record["genrm_reason"], route.call_count) == (1.0, 0, 1)


async def test_a_router_of_verl_s_goes_before_the_base_url(judge_server: respx.MockRouter) -> None:
    route = judge_server.post("http://10.0.0.9:8123/v1/chat/completions").mock(return_value=TRUE)

    class Tokenizer:
        all_special_tokens = ("[SEP]", "<|im_end|>")

    record = await compute_score(
        "mine", "4 [SEP]", "4", INFO, reward_router_address="10.0.0.9:8123", reward_model_tokenizer=Tokenizer()
    )
    assert record["score"] == 1.0
    assert "4 [\\u00a6SEP]" in route.calls.last.request.content.decode()


async def test_settings_as_reward_kwargs(judge_server: respx.MockRouter) -> None:
    route = judge_server.post("http://elsewhere:1/v1/chat/completions").mock(return_value=TRUE)
    await compute_score("mine", "4", "4", INFO, BASE_URL="http://elsewhere:1", model_name="other", API_KEY=None)
    assert json.loads(route.calls.last.request.content)["model"] == "other"
    with pytest.raises(SettingsError, match="MAX_RETRIES was 'x'"):
        await compute_score("mine", "4", "4", INFO, MAX_RETRIES="x")
    with pytest.raises(SettingsError, match="did you mean BASE_URL"):
        await compute_score("mine", "4", "4", INFO, BASE_ULR="http://elsewhere:1")


async def test_an_environment_that_changes_is_followed(
    judge_server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(401))
    for policy, score in (("0.5", 0.5), ("-1", -1.0)):
        monkeypatch.setenv("GENRM_ON_NO_VERDICT", policy)
        assert (await compute_score("mine", "4", "4", INFO))["score"] == score


async def test_what_verl_hands_over_is_not_changed(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=TRUE)
    info: dict[str, Any] = {**INFO, "num_turns": 2, "rollout_reward_scores": {}}
    before = dict(info)
    await compute_score("mine", "4", "4", info)
    assert info == before


def test_a_batch_keeps_its_order(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=by_solution)
    solutions = [str(number) for number in range(40)]
    records = compute_score_batch(["mine"] * 40, solutions, ["4"] * 40, [INFO] * 40)
    assert [record["score"] for record in records] == [float(number % 10 == 4) for number in range(40)]
    assert len({tuple(record) for record in records}) == 1


async def test_a_batch_also_where_a_loop_is_running(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=by_solution)
    assert [record["score"] for record in compute_score_batch(["m"], ["4"], ["4"], [INFO], MAX_WORKERS=2)] == [1.0]
    assert compute_score_batch([], [], []) == []


def test_a_batch_says_what_is_wrong_after_scoring_the_rest(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(side_effect=by_solution)
    with pytest.raises(SampleError, match="holds no problem"):
        compute_score_batch(["m"] * 3, ["4", "5", "6"], ["4"] * 3, [INFO, {}, INFO])
    assert route.call_count == 2
    with pytest.raises(SampleError, match="differ in length: 1, 2, 1, 1"):
        compute_score_batch(["m"], ["4", "5"], ["4"], [INFO])
    with pytest.raises(SettingsError):
        compute_score_batch(["m"], ["4"], ["4"], [INFO], MAX_WORKERS=0)
    assert route.call_count == 2


def test_importing_it_is_light() -> None:
    """verl imports it in every worker. Heavy packages, and the 0.3 s of httpx and aiohttp, come when they are used."""
    code = "import sys, genrm.reward_function; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(run.stdout.split())
    assert "genrm.judge" in modules
    assert not modules & {
        "torch",
        "verl",
        "vllm",
        "ray",
        "numpy",
        "transformers",
        "httpx",
        "aiohttp",
        "openai",
        "math_verify",
    }
    assert not any(name.startswith("mock_server") for name in modules)


def test_neither_package_imports_the_other() -> None:
    root = Path(genrm.reward_function.__file__).parent
    for path in root.rglob("*.py"):
        if "workbench" not in path.parts:
            assert "import mock_server" not in path.read_text()
            assert "from mock_server" not in path.read_text()
    for path in (root.parent / "mock_server").rglob("*.py"):
        assert "import genrm" not in path.read_text()
        assert "from genrm" not in path.read_text()
