"""verl's managers from before the reward loop, which 0.9 still has: they take a whole batch. Driven directly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from verl.workers.reward_manager import get_reward_manager_cls

from genrm.reward_function import compute_score_batch, compute_score_sync
from in_verl.judgements import SHAPES, TRANSIENT, sums, verdicts
from in_verl.reward_loops import RewardLoops
from mock_server import MockServer


@pytest.mark.parametrize(
    ("name", "function"), [("batch", compute_score_batch), ("naive", compute_score_sync), ("dapo", compute_score_sync)]
)
def test_they_are_served(
    loops: RewardLoops, mock_server_factory: Callable[..., MockServer], name: str, function: Callable[..., Any]
) -> None:
    judge = mock_server_factory(scenario={"shapes": SHAPES, "faults": TRANSIENT})
    settings = {"BASE_URL": judge.base_url, "MAX_RETRIES": 3, "BASE_DELAY": 0.01, "ON_NO_VERDICT": 0.25}
    manager = get_reward_manager_cls(name)(loops.tokenizer, 0, partial(function, **settings))
    rows = sums(32)
    result = manager(loops.batch(rows), return_dict=True)
    rewards, columns = result["reward_tensor"].sum(dim=1), result["reward_extra_info"]
    expected = verdicts(judge.requests, rows)
    assert torch.isfinite(rewards).all()
    assert rewards.tolist() == [0.25 if verdict < 0 else verdict for verdict in expected]
    assert columns["genrm_verdict"] == expected
    assert {len(values) for values in columns.values()} == {len(rows)}
