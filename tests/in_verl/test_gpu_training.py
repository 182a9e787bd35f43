"""The GRPO run beside a judge on a GPU (`nox -s gpu_e2e`): verl's own configuration takes its words, and means them."""

from __future__ import annotations

from pathlib import Path

from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from in_verl.reward_loops import configured
from judges import update_probe
from judges.training import GROUP, PROMPTS, words_on_gpu
from rl.command import Plan

PLAN = Plan(Path("/runs/one"), Path("Qwen/Qwen2.5-0.5B-Instruct"), steps=2, prompts=PROMPTS, group=GROUP)


def test_verl_takes_it() -> None:
    config = configured(*words_on_gpu(PLAN))
    validate_config(config, need_reference_policy(config), need_critic(config))
    for part in (config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, config.algorithm):
        omega_conf_to_dataclass(part)
    assert get_custom_reward_fn(config) is not None


def test_what_computes_attention_needs_no_flash_attn() -> None:
    model = configured(*words_on_gpu(PLAN)).actor_rollout_ref.model
    assert model.override_config.attn_implementation == "sdpa"
    assert not model.use_remove_padding


def test_a_machine_with_few_cores_has_all_that_ray_counts() -> None:
    config = configured(*words_on_gpu(PLAN))
    storage = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    workers = config.actor_rollout_ref.rollout.agent.num_workers + config.reward.num_workers
    others = 1 + 1 + 3  # the task's runner, the queue's controller, the GPU's bundle
    assert storage + workers + others <= config.ray_kwargs.ray_init.num_cpus


def test_the_judge_has_room_beside_it() -> None:
    actor_rollout = configured(*words_on_gpu(PLAN)).actor_rollout_ref
    assert actor_rollout.rollout.name == "vllm"
    assert actor_rollout.rollout.gpu_memory_utilization == 0.3
    assert actor_rollout.rollout.enforce_eager
    assert actor_rollout.actor.fsdp_config.param_offload
    assert actor_rollout.actor.fsdp_config.optimizer_offload


def test_its_loss_looks_at_the_judge() -> None:
    config = configured(*words_on_gpu(PLAN))
    assert get_policy_loss_fn(config.actor_rollout_ref.actor.policy_loss.loss_mode) is update_probe.watched
