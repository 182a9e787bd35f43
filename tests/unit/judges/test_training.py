"""How the GRPO run beside a judge on a GPU is called; in the real verl by tests/in_verl/test_gpu_training.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges.training import words_on_gpu
from rl.command import Plan

PLAN = Plan(Path("/runs/one"), Path("Qwen/Qwen2.5-0.5B-Instruct"), steps=2, prompts=8, group=4)


@pytest.mark.parametrize(
    "word",
    [
        "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B-Instruct",
        "data.train_batch_size=8",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.actor.policy_loss.loss_mode=watched",
        # without flash-attn
        "actor_rollout_ref.model.use_remove_padding=false",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        # on few cores
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "reward.num_workers=1",
        "actor_rollout_ref.rollout.agent.num_workers=1",
        "ray_kwargs.ray_init.num_cpus=12",
        # on a small card
        "actor_rollout_ref.actor.fsdp_config.param_offload=true",
        "actor_rollout_ref.actor.fsdp_config.optimizer_offload=true",
        "actor_rollout_ref.rollout.enforce_eager=true",
    ],
)
def test_verl_is_told(word: str) -> None:
    assert word in words_on_gpu(PLAN)
