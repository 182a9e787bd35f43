"""What `genrm doctor` knows of verl, held against verl itself."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import verl
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from verl.experimental.reward_loop.reward_manager.registry import REWARD_MANAGER
from verl.trainer.ppo.reward import get_custom_reward_fn

from genrm.workbench.doctor.launch import read_launch
from genrm.workbench.doctor.verl import facts
from genrm_command import run
from in_verl.reward_loops import configured
from mock_server import MockServer

OURS = "pkg://genrm.reward_function"
OLD = [f"custom_reward_function.path={OURS}", "custom_reward_function.name=compute_score"]
NEW = [f"reward.{word}" for word in OLD]
BRANCH = f"custom_reward_function={{path:{OURS},name:compute_score}}"


@pytest.mark.parametrize(
    ("words", "called"), [(OLD, False), (NEW, True), ([BRANCH], False), ([f"reward.{BRANCH}"], True)]
)
def test_upstreams_trap(tmp_path: Path, mock_server: MockServer, words: list[str], called: bool) -> None:
    """verl takes the older keys without a word, and has no reward function then; the doctor says so."""
    config = configured(*words)
    assert (get_custom_reward_fn(config) is not None) == called
    composed, script = tmp_path / "config.yaml", tmp_path / "run.sh"
    composed.write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    script.write_text(shlex.join(["python", "-m", "verl.trainer.main_ppo", *words]), encoding="utf-8")
    for path in (composed, script):
        result = run("doctor", "--config", path, GENRM_BASE_URL=mock_server.base_url)
        assert f"read by the rules of verl {verl.__version__} (installed here)" in result.stdout
        assert ("is accepted by verl 0.9.1 and ignored in silence" in result.stdout) == (not called)
        assert ("no reward function is set" in result.stdout) == (not called)
        assert (f"{OURS}: compute_score is there, and async" in result.stdout) == called
        assert result.returncode == (0 if called else 1)


@pytest.mark.parametrize(
    "word",
    [
        "reward_model={enable:true,n_gpus_per_node:2,model:{path:null}}",
        "+custom_reward_function={path: x.py, reward_kwargs: {BASE_URL: 'http://judge:30000', WORKERS: [1, 'a, b']}}",
        "++sandbox_fusion={url:http://a:1/b?c,memory_limit_mb:1.5}",
        "reward={}",
        "reward.custom_reward_function={path:\"a, }b\",name:f g , x:'y'}",
    ],
)
def test_branches_are_read_as_by_hydra(tmp_path: Path, word: str) -> None:
    override = OverridesParser.create().parse_override(word)
    by_hydra, ours = tmp_path / "config.yaml", tmp_path / "overrides.yaml"
    by_hydra.write_text(yaml.safe_dump({override.key_or_group: override.value(), "data": {"seed": 1}}))
    ours.write_text(yaml.safe_dump([word, "data.seed=1"]))
    assert read_launch([ours]).values == read_launch([by_hydra]).values


def test_the_version_that_is_taken_where_none_is_installed() -> None:
    assert facts()["newest"] == verl.__version__


def test_the_managers() -> None:
    assert sorted(facts()["managers"]) == sorted(REWARD_MANAGER)


def test_the_defaults() -> None:
    config = configured()
    assert {key: OmegaConf.select(config, key) for key in facts()["defaults"]} == facts()["defaults"]


@pytest.mark.parametrize("key", [key for names in facts()["moved"].items() for key in names])
def test_old_and_new_names_are_there(key: str) -> None:
    config = configured()
    if key.split(".")[-1] in facts()["added"]:
        with pytest.raises(HydraException):
            configured(f"{key}=1")
        configured(f"+{key}=1")
    else:
        assert key.rsplit(".", 1)[-1] in (OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config)
