"""genrm_grpo through verl's own dispatch, and against verl's own GRPO."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.core_algos import AdvantageEstimator
from verl.trainer.ppo.metric_utils import compute_data_metrics
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

import genrm.verl_plugin  # noqa: F401  it registers the estimator
from genrm.rewards import LEFT_OUT
from in_verl.judgements import SHAPES, TRANSIENT, sums
from in_verl.reward_loops import RewardLoops, configured, objects, overrides
from mock_server import MockServer

PATIENCE = 120.0
TOKENS = 5
NOTHING = st.sampled_from([LEFT_OUT, math.nan])
REWARDS = st.sampled_from([0.0, 1.0, 0.25, -0.5]) | st.floats(-10, 10, width=32)


@dataclass(frozen=True)
class Rollout:
    """A sample as the trainer has it: its prompt, its reward, and its length in tokens."""

    group: str
    reward: float
    length: int

    @property
    def is_judged(self) -> bool:
        return not math.isnan(self.reward) and self.reward != LEFT_OUT


def rollouts(rewards: st.SearchStrategy[float]) -> st.SearchStrategy[list[Rollout]]:
    """Up to 24, in up to six groups, in any order."""
    return st.lists(
        st.builds(Rollout, st.sampled_from("abcdef"), rewards, st.integers(1, TOKENS)), min_size=1, max_size=24
    )


@cache
def algorithm(by_std: bool = True) -> Any:
    """verl's configuration of the algorithm."""
    return configured(f"algorithm.norm_adv_by_std_in_grpo={by_std}").algorithm


def data_of(batch: list[Rollout]) -> DataProto:
    rewards = torch.zeros(len(batch), TOKENS)
    mask = torch.zeros(len(batch), TOKENS, dtype=torch.long)
    for row, rollout in enumerate(batch):
        rewards[row, rollout.length - 1] = rollout.reward
        mask[row, : rollout.length] = 1
    tensors = TensorDict({"token_level_rewards": rewards, "response_mask": mask}, batch_size=len(batch))
    return DataProto(batch=tensors, non_tensor_batch={"uid": objects([rollout.group for rollout in batch])})


def advantages(batch: list[Rollout], estimator: Any, by_std: bool) -> torch.Tensor:
    """As verl's trainer has them computed, (samples, tokens)."""
    data = compute_advantage(data_of(batch), estimator, norm_adv_by_std_in_grpo=by_std, config=algorithm(by_std))
    assert torch.equal(data.batch["advantages"], data.batch["returns"])
    advantages: torch.Tensor = data.batch["advantages"]
    return advantages


@given(batch=rollouts(REWARDS), by_std=st.booleans())
def test_where_every_sample_has_a_verdict_it_is_verls_grpo(batch: list[Rollout], by_std: bool) -> None:
    ours, verls = (advantages(batch, name, by_std) for name in ("genrm_grpo", AdvantageEstimator.GRPO))
    assert ours.dtype == verls.dtype
    assert torch.equal(ours, verls)


@given(batch=rollouts(REWARDS | NOTHING), by_std=st.booleans())
@example(batch=[Rollout("a", LEFT_OUT, 2), Rollout("a", math.nan, 3), Rollout("b", LEFT_OUT, 1)], by_std=True)
@example(batch=[Rollout("a", 1.0, 2), Rollout("a", LEFT_OUT, 3), Rollout("b", 1.0, 1)], by_std=True)
def test_those_without_are_as_if_they_were_not_there(batch: list[Rollout], by_std: bool) -> None:
    found = advantages(batch, "genrm_grpo", by_std)
    judged = [row for row, rollout in enumerate(batch) if rollout.is_judged]
    left: dict[str, int] = defaultdict(int)
    for row in judged:
        left[batch[row].group] += 1
    alone = [row for row in judged if left[batch[row].group] == 1]
    kept = [row for row in judged if row not in alone]
    if kept:
        assert torch.equal(found[kept], advantages([batch[row] for row in kept], AdvantageEstimator.GRPO, by_std))
    for row in set(range(len(batch))) - set(kept):
        is_group_of_one = [rollout.group for rollout in batch].count(batch[row].group) == 1
        if not (is_group_of_one and batch[row].is_judged):
            assert not found[row].any()


@given(batch=rollouts(REWARDS | NOTHING), by_std=st.booleans())
def test_against_arithmetic(batch: list[Rollout], by_std: bool) -> None:
    """Means and deviations of those that are left, by Python's own."""
    found = advantages(batch, "genrm_grpo", by_std)
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in batch:
        groups[rollout.group].append(rollout)
    for row, rollout in enumerate(batch):
        group = [other.reward for other in groups[rollout.group] if other.is_judged]
        if not rollout.is_judged or (len(group) == 1 < len(groups[rollout.group])):
            advantage = 0.0
        elif len(group) == 1:
            advantage = rollout.reward
        else:
            advantage = rollout.reward - fmean(group)
            advantage /= stdev(group) + 1e-6 if by_std else 1.0
        expected = [advantage] * rollout.length + [0.0] * (TOKENS - rollout.length)
        # A deviation of nearly nothing, to which 1e-6 is added, is rounding in float32.
        slack = 1e-3 if not by_std or len(group) < 2 or stdev(group) > 1e-2 else math.inf
        assert torch.isfinite(found[row]).all()
        if slack < math.inf:
            assert found[row].tolist() == pytest.approx(expected, rel=slack, abs=slack)


@pytest.mark.parametrize("nothing", [LEFT_OUT, math.nan])
def test_the_newer_trainer_hands_it_the_same(nothing: float) -> None:
    batch = [Rollout("a", reward, 3) for reward in (1.0, nothing, 0.0, 1.0)] + [Rollout("b", 1.0, 2)]
    keys = [f"{rollout.group}_{row}_0" for row, rollout in enumerate(batch)]
    data = compute_advantage_for_multi_trajectories(data_of(batch), keys, "genrm_grpo", config=algorithm())
    assert torch.equal(data.batch["advantages"], advantages(batch, "genrm_grpo", True))


def test_a_reward_that_was_changed_on_its_way_is_refused() -> None:
    config = configured("algorithm.use_kl_in_reward=True").algorithm
    with pytest.raises(ValueError, match="use_kl_loss=True instead"):
        compute_advantage(data_of([Rollout("a", 1.0, 2)]), "genrm_grpo", config=config)


def test_from_the_judge_to_the_advantages(loops: RewardLoops, mock_server_factory: Callable[..., MockServer]) -> None:
    """Through verl's reward loop: those without verdict get 0, the others what they get without them."""
    judge = mock_server_factory(scenario={"shapes": SHAPES, "faults": TRANSIENT})
    settings = {"BASE_URL": judge.base_url, "MAX_RETRIES": 1, "ON_NO_VERDICT": "skip"}
    batch = loops.batch(sums(64))
    scored = loops.start("reward.num_workers=1", *overrides("package", settings)).compute_rm_score(batch)
    batch = batch.union(scored)
    rewards = batch.batch["token_level_rewards"] = batch.batch["token_level_scores"] = batch.batch["rm_scores"]
    batch.non_tensor_batch["uid"] = objects([number // 8 for number in range(64)])
    data = compute_advantage(batch, "genrm_grpo", config=algorithm())
    judged = scored.non_tensor_batch["genrm_verdict"] >= 0
    assert 0 < judged.sum() < 64
    assert not data.batch["advantages"][~torch.from_numpy(judged)].any()
    metrics = compute_data_metrics(data, use_critic=False)
    assert all(math.isfinite(value) for value in metrics.values())
    # In the curves they count as 0.
    assert metrics["critic/score/mean"] == pytest.approx(scored.non_tensor_batch["genrm_verdict"].clip(0).mean())
    assert rewards.sum() == pytest.approx((scored.non_tensor_batch["genrm_verdict"] == 1).sum())


LOOK = (
    "import verl; from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY as known; print('genrm_grpo' in known)"
)


@pytest.mark.parametrize(("modules", "there"), [("", "False"), ("genrm.verl_plugin", "True")])
def test_verl_loads_it_where_it_is_told_to(modules: str, there: str) -> None:
    variables = {**os.environ, "VERL_USE_EXTERNAL_MODULES": modules}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK],
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.split()[-1] == there
