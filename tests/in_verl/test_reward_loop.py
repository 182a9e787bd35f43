"""The reward function under every manager of verl's reward loop, against a judge of whose calls half go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import ray
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.metric_utils import process_validation_metrics

from genrm import Reason, Sample
from in_verl.judgements import SHAPES, TRANSIENT, sums, verdicts
from in_verl.reward_loops import SPELLINGS, RewardLoops, Row, overrides
from mock_server import MockServer

KEYS = ["score", "acc", "genrm_verdict", "genrm_reason", "genrm_attempts", "genrm_latency", "genrm_tokens"]
KEYS += ["genrm_fallback"]
NO_VERDICT = 0.25
"""What it pays: a number that nothing else pays."""
PATIENT = {"MAX_RETRIES": 3, "BASE_DELAY": 0.01, "ON_NO_VERDICT": NO_VERDICT}


@pytest.fixture
def judge(mock_server_factory: Callable[..., MockServer]) -> MockServer:
    """A judge in trouble."""
    return mock_server_factory(scenario={"shapes": SHAPES, "faults": TRANSIENT})


def scored(manager: RewardLoopManager, loops: RewardLoops, rows: Sequence[Row]) -> tuple[list[float], dict[str, Any]]:
    """What verl has for these rows: the rewards, at each reply's last token, and the columns that go with them."""
    batch = loops.batch(rows)
    result = manager.compute_rm_score(batch)
    places = batch.batch["attention_mask"][:, batch.batch["prompts"].shape[1] :].sum(dim=1) - 1
    rewards = result.batch["rm_scores"]
    assert torch.isfinite(rewards).all()
    assert torch.equal(rewards.sum(dim=1), rewards[torch.arange(len(rows)), places])
    assert result.meta_info["reward_extra_keys"] == list(result.non_tensor_batch)
    return rewards.sum(dim=1).tolist(), result.non_tensor_batch


def check(rewards: list[float], columns: dict[str, Any], rows: Sequence[Row], judge: MockServer) -> list[int]:
    """All that must hold of a batch; returns its verdicts."""
    expected = verdicts(judge.requests, rows)
    assert columns["genrm_verdict"].tolist() == expected
    assert rewards == [NO_VERDICT if verdict < 0 else verdict for verdict in expected]
    assert columns["genrm_fallback"].tolist() == [verdict < 0 for verdict in expected]
    assert columns["score"].tolist() == columns["acc"].tolist() == rewards
    for values in columns.values():
        assert values.dtype.kind in "if"
        assert np.isfinite(values).all()
    names = [str(number // 4) for number in range(len(rows))]
    infos = {name: values.tolist() for name, values in columns.items()}
    assert process_validation_metrics(["tests/sums"] * len(rows), names, infos)
    return expected


AWAITING: dict[str, list[str]] = {"naive": [], "dapo": [], "gdpo": [], "rate_limited": ["+reward.max_concurrent=8"]}
"""The managers that take async functions, and what they must be told."""


def started(loops: RewardLoops, judge: MockServer, name: str, workers: int, spelling: str, *words: str) -> Any:
    function = "compute_score_sync" if name == "remote" else "compute_score"
    given = overrides(spelling, {"BASE_URL": judge.base_url, **PATIENT}, function)
    return loops.start(f"reward.reward_manager.name={name}", f"reward.num_workers={workers}", *words, *given)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("name", AWAITING)
def test_managers(loops: RewardLoops, judge: MockServer, name: str, workers: int, spelling: str) -> None:
    rows = sums(64)
    rewards, columns = scored(started(loops, judge, name, workers, spelling, *AWAITING[name]), loops, rows)
    assert list(columns) == KEYS
    assert set(check(rewards, columns, rows, judge)) == {-1, 0, 1}


@pytest.mark.parametrize(("workers", "spelling"), [(1, "path"), pytest.param(2, "package", marks=pytest.mark.long)])
def test_the_manager_that_cannot_await(loops: RewardLoops, judge: MockServer, workers: int, spelling: str) -> None:
    """Each of its workers starts as many processes again as there are workers: eight of them would be 64."""
    rows = sums(16)
    rewards, columns = scored(started(loops, judge, "remote", workers, spelling), loops, rows)
    assert list(columns) == KEYS
    check(rewards, columns, rows, judge)


def test_processes_of_verls_own(loops: RewardLoops, judge: MockServer) -> None:
    """With nothing between verl and the function: the manager starts the processes itself."""
    given = overrides("package", {"BASE_URL": judge.base_url, **PATIENT})
    manager = RewardLoopManager(loops.config("reward.num_workers=1", *given))
    try:
        rows = sums(32)
        check(*scored(manager, loops, rows), rows, judge)
        # The manager takes the first sample's keys for all: a further one of another would not be seen above.
        [worker] = manager.reward_loop_workers
        outputs = ray.get(worker.compute_score_batch.remote(loops.batch(rows)))
        assert [list(output["reward_extra_info"]) for output in outputs] == [KEYS] * len(rows)
    finally:
        for worker in manager.reward_loop_workers:
            ray.kill(worker)


def test_dapos_penalty_for_length_comes_on_top(loops: RewardLoops, judge: MockServer) -> None:
    limits: dict[str, object] = {"max_resp_len": 24, "overlong_buffer_cfg.enable": True, "overlong_buffer_cfg.len": 8}
    limits |= {"overlong_buffer_cfg.penalty_factor": 0.5, "overlong_buffer_cfg.log": True}
    words = [f"+reward.reward_kwargs.{name}={value}" for name, value in limits.items()]
    rows = [replace(row, solution=row.solution + " Yes." * (n % 2)) for n, row in enumerate(sums(16))]
    rewards, columns = scored(started(loops, judge, "dapo", 1, "package", *words), loops, rows)
    assert list(columns) == [*KEYS, "overlong_reward", "overlong"]
    assert columns["overlong"].any()
    assert rewards == pytest.approx((columns["score"] + columns["overlong_reward"]).tolist())
    check(columns["score"].tolist(), {key: columns[key] for key in KEYS}, rows, judge)


TEXTS = st.lists(
    st.sampled_from(["\\boxed{True}", "<|im_end|>", "</think>", "[AI Solution]", "\n\n", "\0", "\u200b", "2 + 2 = 4"])
    | st.text(st.characters(codec="utf-8"), max_size=20),
    max_size=4,
).map("".join)
NUMBERS = count()


@st.composite
def batches(draw: st.DrawFn) -> list[Row]:
    """As many samples as eight workers take without padding, whose problems nobody has had before."""
    rows = []
    for _ in range(draw(st.sampled_from([8, 16]))):
        number = next(NUMBERS)
        split = draw(st.sampled_from(["train", "train", "test"]))
        rows.append(Row(f"What is {number} + 17?", draw(TEXTS), str(number + 17), split))
    return rows


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=batches(), seed=st.integers(0, 2**32))
def test_whatever_the_policy_writes(loops: RewardLoops, rows: list[Row], seed: int) -> None:
    with MockServer(scenario={"shapes": SHAPES, "faults": TRANSIENT}, seed=seed) as judge:
        rewards, columns = scored(started(loops, judge, "naive", 8, "package"), loops, rows)
        assert list(columns) == KEYS
        for number, verdict in enumerate(verdicts(judge.requests, rows)):
            reason = Reason.OK
            if rows[number].split == "test":
                verdict, reason = -1, Reason.BY_RULE
            elif Sample(loops.decoded(rows[number].solution)).is_empty:
                verdict, reason = 0, Reason.EMPTY_SOLUTION
            assert columns["genrm_verdict"][number] == verdict
            if verdict >= 0 or reason is not Reason.OK:
                assert columns["genrm_reason"][number] == reason.number
            if verdict >= 0:
                assert rewards[number] == verdict
