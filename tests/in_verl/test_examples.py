"""The examples in the real verl: its configuration takes each script's keys, its reward loop calls custom_genrm.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import HydraException
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.config import omega_conf_to_dataclass

from genrm_command import run
from in_verl.judgements import TRANSIENT, sums
from in_verl.reward_loops import RewardLoops, configured
from in_verl.scripts import SCRIPTS, keys, printed
from mock_server import MockServer


@pytest.mark.parametrize("script", SCRIPTS)
def test_verl_knows_every_key(script: str) -> None:
    config = configured(*keys(script))
    assert get_custom_reward_fn(config) is not None
    assert omega_conf_to_dataclass(config.algorithm).adv_estimator == "genrm_grpo"
    assert config.actor_rollout_ref.model.path == "policy"
    with pytest.raises(HydraException):  # as it would be told of others
        configured(*keys(script, "data.no_such_key=1"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_doctor_finds_nothing_wrong_with_the_keys(mock_server: MockServer, tmp_path: Path, script: str) -> None:
    path = tmp_path / "run.sh"
    path.write_text(printed(script, GENRM_BASE_URL=mock_server.base_url))
    wiring = run("doctor", "--config", path, GENRM_BASE_URL=mock_server.base_url).stdout.partition("settings\n")[0]
    assert "compute_score is there, and async" in wiring
    assert "genrm_grpo leaves samples without verdict out of their group" in wiring
    assert not [line for line in wiring.splitlines() if line.startswith(("failed", "warning"))]


def test_a_genrm_of_ones_own(loops: RewardLoops, mock_server_factory: Callable[..., MockServer]) -> None:
    """The mock marks everything with 7; some of its replies are lost on their way."""
    scenario = {"prompt": {"problem": "[Nothing]"}, "unrecognised": "Sound, and brief.\nMark: 7", "faults": TRANSIENT}
    judge = mock_server_factory(scenario=scenario)
    function = [word for word in keys("run_custom_genrm.sh") if word.startswith("reward.")]
    kwargs = {"BASE_URL": judge.base_url, "MAX_RETRIES": 3, "BASE_DELAY": 0.01, "ON_NO_VERDICT": "skip"}
    given = [f"+reward.custom_reward_function.reward_kwargs.{name}='{value}'" for name, value in kwargs.items()]
    rows = sums(32)
    result = loops.start("reward.num_workers=1", *function, *given).compute_rm_score(loops.batch(rows))
    columns = result.non_tensor_batch
    marked = columns["genrm_verdict"] == 0.7
    assert marked.sum() > 16
    assert columns["genrm_verdict"][~marked].tolist() == [-1.0] * int((~marked).sum())
    assert result.batch["rm_scores"].sum(dim=1).tolist() == pytest.approx(columns["score"].tolist())
    assert columns["score"][marked].tolist() == [0.7] * int(marked.sum())
    assert all(
        "Mark this solution from 0" in exchange.messages[0][1] for exchange in judge.requests if exchange.messages
    )
