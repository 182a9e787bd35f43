"""verl's reward loop, as its trainers run it, over batches of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from hydra import compose, initialize_config_module
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop import RewardLoopManager, RewardLoopWorker
from verl.utils import hf_tokenizer

import genrm.reward_function

SPELLINGS = {"package": "pkg://genrm.reward_function", "path": str(genrm.reward_function.__file__)}
"""How a run may name the file of the reward function."""
_FUNCTION = "reward.custom_reward_function"


@dataclass(frozen=True)
class Row:
    """A sample of a batch, as data set and rollout made it."""

    problem: str
    solution: str
    answer: str
    split: str = "train"


def overrides(spelling: str, settings: Mapping[str, object], function: str = "compute_score") -> list[str]:
    """What a run writes to have its rewards from genrm."""
    given = [f"+{_FUNCTION}.reward_kwargs.{name}='{value}'" for name, value in settings.items()]
    return [f"{_FUNCTION}.path={SPELLINGS[spelling]}", f"{_FUNCTION}.name={function}", *given]


def configured(*words: str) -> Any:
    """verl's own configuration with these overrides."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=list(words))


class _Worker(RewardLoopWorker):  # type: ignore[misc]
    """verl's worker, which can begin again with another configuration."""

    def __init__(self) -> None:
        pass

    async def begin(self, config: Any, router_address: str | None) -> None:
        super().__init__(config, router_address)


class _Manager(RewardLoopManager):  # type: ignore[misc]
    """verl's manager, over processes that are there: to start eight of them takes half a minute."""

    def __init__(self, config: Any, processes: Sequence[Any]) -> None:
        self._processes = processes
        super().__init__(config)

    def _init_reward_loop_workers(self) -> None:
        self.reward_loop_workers = self._processes[: self.config.reward.num_workers]
        ray.get([worker.begin.remote(self.config, self.reward_router_address) for worker in self.reward_loop_workers])


class RewardLoops:
    """Reward loops with any configuration, over the same processes. A context manager.

    Args:
        model: the policy's folder, with a tokenizer.
        processes: how many there are.
    """

    def __init__(self, model: Path, processes: int) -> None:
        self.model = model
        self.tokenizer = hf_tokenizer(str(model))
        self._processes = [ray.remote(_Worker).options(num_cpus=0).remote() for _ in range(processes)]

    def __enter__(self) -> RewardLoops:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            ray.kill(process)

    def start(self, *words: str) -> RewardLoopManager:
        """A reward loop with these overrides; `reward.num_workers` may be as many as there are processes."""
        return _Manager(self.config(*words), self._processes)

    def config(self, *words: str) -> Any:
        """verl's configuration with these overrides and the model."""
        return configured(f"actor_rollout_ref.model.path={self.model}", *words)

    def decoded(self, text: str) -> str:
        """What verl makes of a reply: its special tokens are gone."""
        return str(self.tokenizer.decode(self.tokenizer(text)["input_ids"], skip_special_tokens=True))

    def batch(self, rows: Sequence[Row]) -> DataProto:
        """Rows as the rollout hands them on: tokens, padded to the right, and the data set's columns."""
        replies = [[*self.tokenizer(row.solution)["input_ids"], self.tokenizer.eos_token_id] for row in rows]
        length, prompt = max(map(len, replies)), 4
        responses = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(rows), prompt + length), dtype=torch.long)
        mask[:, :prompt] = 1
        for number, reply in enumerate(replies):
            responses[number, : len(reply)] = torch.tensor(reply)
            mask[number, prompt : prompt + len(reply)] = 1
        prompts = torch.ones((len(rows), prompt), dtype=torch.long)
        tensors = {
            "prompts": prompts,
            "responses": responses,
            "attention_mask": mask,
            "input_ids": torch.cat([prompts, responses], dim=1),
        }
        columns: dict[str, list[Any]] = {
            "data_source": ["tests/sums"] * len(rows),
            "reward_model": [{"ground_truth": row.answer} for row in rows],
            "extra_info": [{"question": row.problem, "split": row.split, "index": n} for n, row in enumerate(rows)],
            "__num_turns__": [2] * len(rows),
        }
        return DataProto(
            batch=TensorDict(tensors, batch_size=len(rows)),
            non_tensor_batch={name: objects(column) for name, column in columns.items()},
        )


def objects(values: Sequence[Any]) -> Any:
    """An array of Python objects, as verl's columns are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
