"""An advantage estimator that leaves samples without verdict out of their group.

::

    export VERL_USE_EXTERNAL_MODULES=genrm.verl_plugin    # verl imports it in each of its processes
    export GENRM_ON_NO_VERDICT=skip
    algorithm.adv_estimator=genrm_grpo

In GRPO (https://arxiv.org/abs/2402.03300) a sample's advantage is its reward less the mean of its group, the rollouts
of the same prompt, over their standard deviation. Whatever a sample without verdict is paid moves both, and so the
advantages of all others. Here it has no part in them, and its own advantage is 0: nothing is learned from it.

verl (0.9.1, both trainers) hands an estimator of one's own the rewards, and none of the columns that the reward
function returned. So the reward itself says that there is no verdict: by `genrm.rewards.LEFT_OUT`, or by NaN.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, register_adv_est

from genrm.rewards import LEFT_OUT


@register_adv_est("genrm_grpo")  # type: ignore[untyped-decorator]
def compute_genrm_grpo_advantage(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, config: Any = None, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """verl's GRPO over the samples that have a verdict.

    A sample whose group has no other verdict left has nothing to be compared with: its advantage is 0, too. (verl pays
    a group of one its bare reward; here that holds only for groups that were of one from the beginning.)

    Args:
        token_level_rewards: (samples, tokens); a sample's reward is their sum.
        response_mask: (samples, tokens), 1 for those of the response.
        index: (samples,), each one's group.
        config: verl's algorithm configuration; `norm_adv_by_std_in_grpo` is obeyed.

    Returns:
        Advantages and returns, which are the same: (samples, tokens).

    Raises:
        ValueError: `use_kl_in_reward` is on, so that what a reward says is gone before it comes here.
    """
    config = config or {}
    if config.get("use_kl_in_reward", False):
        raise ValueError(
            "genrm_grpo knows samples without verdict by their reward, and algorithm.use_kl_in_reward changes it; "
            "use actor_rollout_ref.actor.use_kl_loss=True instead"
        )
    rewards = token_level_rewards.sum(dim=-1)
    judged = (~(rewards.isnan() | (rewards == LEFT_OUT))).cpu().numpy()
    rows = torch.from_numpy(judged & ~_left_alone(judged, index)).to(token_level_rewards.device)
    advantages = torch.zeros_like(token_level_rewards)
    if rows.any():
        advantages[rows], _returns = compute_grpo_outcome_advantage(
            token_level_rewards[rows],
            response_mask[rows],
            index[rows.cpu().numpy()],
            norm_adv_by_std_in_grpo=config.get("norm_adv_by_std_in_grpo", True),
        )
    return advantages, advantages


def _left_alone(judged: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Which samples are in a group of several of whom at most one has a verdict."""
    size, verdicts = Counter(index), Counter(index[judged])
    return np.array([size[group] > 1 >= verdicts[group] for group in index], dtype=bool)
