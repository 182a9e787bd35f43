"""How verl is called, and that the mock of these runs knows the domain."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_server.judge.answers import Judge
from mock_server.scenario.script import Scenario
from rl import command, judging
from rl.command import Plan
from tiny import domain
from tiny.tokens import judge_messages

PLAN = Plan(Path("/runs/one"), Path("/models/policy"), {"GENRM_BASE_URL": "http://judge"}, seed=7, trainer="v0")


@pytest.mark.parametrize(
    "override",
    [
        "data.train_files=/runs/one/train.parquet",
        "actor_rollout_ref.model.path=/models/policy",
        "data.seed=7",
        "data.train_batch_size=32",
        "actor_rollout_ref.rollout.n=8",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=256",
        "trainer.use_v1=False",
        'trainer.logger=["console"]',
        "+ray_kwargs.ray_init.num_gpus=1",
        "reward.custom_reward_function.path=pkg://genrm.reward_function",
    ],
)
def test_verl_is_told(override: str) -> None:
    assert override in command.overrides(PLAN)


def test_verl_gets_genrms_settings_and_our_plugin() -> None:
    program = command.program(PLAN)

    assert program.environment["GENRM_BASE_URL"] == "http://judge"
    assert program.environment["VERL_USE_EXTERNAL_MODULES"] == "rl.on_cpu"
    assert "GENRM_" in program.own_variables


def test_the_mock_of_these_runs_says_what_the_rule_says() -> None:
    judge = Judge(Scenario.model_validate(judging.scenario()))

    for problem in (domain.Problem(3, 4), domain.Problem(9, 9)):
        for solution in [*(problem.solution(n, f) for n in (problem.answer, 5) for f in domain.FORMS), "7 or 8", "x"]:
            verdict = judge.answer([(m["role"], m["content"]) for m in judge_messages(problem.text, solution)]).verdict
            assert verdict is (domain.rule_score(problem, solution) == 1.0)


def test_counters_are_read_from_both_servers() -> None:
    vllm = 'vllm:request_success_total{engine="0",finished_reason="stop"} 3.0\n' * 2 + "vllm:other_total 9\n"

    assert judging.counted(vllm) == 6
    assert judging.counted("# TYPE judge:requests counter\njudge:requests_total 12\n") == 12
