"""TRL's own GRPOTrainer, judged by the mock: `nox -s trl`."""

# mypy: allow-subclassing-any

from __future__ import annotations

import math
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed; nox -s trl brings it")

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

import genrm.trl
from in_trl import toy
from mock_server import MockServer

pytestmark = [
    # TRL's own calls of what transformers has renamed.
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]

LIKES_SEVEN = {"oracle": [{"rules": [{"solution": "7", "verdict": True}]}, {"default": False}]}
NO_BOX = {"shapes": {"no_box": 0.2}}
BROKEN_AT_THREE = {"match": {"solution": "3"}, "fault": "invalid_json"}
TRL_EPSILON = 1e-4


class Batches(TrainerCallback):
    """What TRL had for each step: prompts, completions, rewards, advantages, and what was logged with them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.trainer: GRPOTrainer

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        logs = self.trainer._logs
        columns = {"prompt": logs["prompt"], "completion": logs["completion"], "advantage": logs["advantages"]}
        columns |= {"reward": logs["rewards"]["genrm"], **logs["extra"]}
        self.rows += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @property
    def groups(self) -> list[list[dict[str, Any]]]:
        """Solutions of the same problem, whose rewards are compared."""
        return [self.rows[start : start + toy.GROUP] for start in range(0, len(self.rows), toy.GROUP)]


def trained(
    folder: Path, function: Any, *callbacks: TrainerCallback, steps: int, conversations: bool = False
) -> tuple[GRPOTrainer, Batches]:
    """A trainer after so many steps."""
    batches = Batches()
    batches.trainer = GRPOTrainer(
        model=toy.policy(),
        processing_class=toy.tokenizer(),
        reward_funcs=function,
        args=toy.config(folder, steps),
        train_dataset=toy.data_set(conversations=conversations),
        callbacks=[batches, *callbacks],
    )
    batches.trainer.train()
    return batches.trainer, batches


def text(messages: Any) -> str:
    return messages if isinstance(messages, str) else messages[-1]["content"]


def said_in(server: MockServer) -> dict[tuple[str, str], float | None]:
    """The journal: what the judge made of each problem and solution; None where it gave no verdict."""
    verdicts: dict[tuple[str, str], float | None] = {}
    for exchange in server.requests:
        [(_, content)] = exchange.messages
        problem = content.split("[Math Problem]\n\n")[1].split("\n\n[")[0]
        solution = content.split("[AI Solution]\n\n")[1].split("\n\nYour task")[0]
        usable = not exchange.faults and exchange.answers[0].shape == "verdict"
        verdicts[problem, solution] = float(bool(exchange.answers[0].verdict)) if usable else None
    return verdicts


@pytest.mark.parametrize("conversations", [False, True])
def test_the_judge_s_verdicts_are_the_rewards_and_none_is_left_out(tmp_path: Path, conversations: bool) -> None:
    with MockServer(scenario=LIKES_SEVEN | NO_BOX | {"faults": [BROKEN_AT_THREE]}) as server:
        function = genrm.trl.reward_function(BASE_URL=server.base_url, MAX_RETRIES=1)
        trainer, batches = trained(tmp_path, function, steps=4, conversations=conversations)
        verdicts = said_in(server)

    assert len(batches.rows) == 4 * 2 * toy.GROUP
    for row in batches.rows:
        solution = text(row["completion"])
        verdict = verdicts[text(row["prompt"]), solution] if solution else 0.0  # the judge is not asked about nothing
        assert row["reward"] == (verdict if verdict is not None else pytest.approx(math.nan, nan_ok=True))
        assert row["genrm_verdict"] == {1.0: "True", 0.0: "False", None: "none"}[verdict]
    seen = Counter(row["genrm_reason"] for row in batches.rows)
    assert seen.keys() >= {"ok", "no_box", "bad_reply"}
    assert {row["reward"] for row in batches.rows if row["genrm_verdict"] != "none"} == {0.0, 1.0}

    for group in batches.groups:
        check_advantages(group)
    for entry in trainer.state.log_history[:-1]:
        assert math.isfinite(entry["loss"])
        assert math.isfinite(entry["grad_norm"])
        assert entry["genrm/verdict_none"] == sum(
            row["genrm_verdict"] == "none" for row in batches.rows[16 * (entry["step"] - 1) : 16 * entry["step"]]
        ) / (2 * toy.GROUP)
    before = toy.policy().state_dict()
    assert any(not torch.equal(before[name], weight) for name, weight in trainer.model.state_dict().items())


def check_advantages(group: list[dict[str, Any]]) -> None:
    """Whoever has a verdict is compared with those that have one; the others have no advantage."""
    judged = [row["reward"] for row in group if row["genrm_verdict"] != "none"]
    mean = statistics.mean(judged) if judged else math.nan
    spread = statistics.stdev(judged) if len(judged) > 1 else 0.0
    for row in group:
        none = row["genrm_verdict"] == "none"
        expected = 0.0 if none else (row["reward"] - mean) / (spread + TRL_EPSILON)
        assert row["advantage"] == pytest.approx(expected, abs=1e-3)


def test_what_the_judge_pays_for_is_learnt(tmp_path: Path) -> None:
    with MockServer(scenario=LIKES_SEVEN) as server:
        function = genrm.trl.reward_function(BASE_URL=server.base_url)
        trainer, _ = trained(tmp_path, function, steps=20)
    rewards = [entry["rewards/genrm/mean"] for entry in trainer.state.log_history if "rewards/genrm/mean" in entry]
    first, last = statistics.mean(rewards[:5]), statistics.mean(rewards[-5:])
    print(f"rewards: {[round(reward, 2) for reward in rewards]}")
    assert first < 0.6
    assert last > 0.9


def test_the_judge_sleeps_while_the_policy_is_updated(tmp_path: Path) -> None:
    asleep: list[bool] = []

    class AtUpdates(TrainerCallback):
        def on_pre_optimizer_step(self, *_args: Any, **_kwargs: Any) -> None:
            asleep.append(bool(server.engine.asleep))

    with MockServer(scenario=LIKES_SEVEN) as server:
        function = genrm.trl.reward_function(
            BASE_URL=server.base_url,
            USE_OFFLOAD=True,
            OFFLOAD_LEDGER="file",
            OFFLOAD_DIR=str(tmp_path / "ledger"),
            CANARY="off",  # they are for a judge of mathematics
        )
        _, batches = trained(tmp_path, function, AtUpdates(), steps=3)
        told = [exchange.path for exchange in server.journal if exchange.path in ("/sleep", "/wake_up")]
    assert asleep == [True] * 3
    assert told == ["/sleep", *["/wake_up", "/sleep"] * 2]
    assert {row["genrm_verdict"] for row in batches.rows} <= {"True", "False"}
