"""What a launch script or a configuration sets, read without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrm.workbench.doctor.launch import Launch, LaunchError, Unknown, read_launch

SCRIPT = """#!/bin/bash
# don't be misled: custom_reward_function.path=commented.py
set -x
export GENRM_BASE_URL=http://judge:30000 GENRM_BATCH_SIZE="512"
GENRM_API_KEY=$KEY
PYTHONUNBUFFERED=1 python3 -m verl.trainer.main_ppo \\
    data.train_files="$HOME/data/train.parquet" \\
    data.train_batch_size=64 actor_rollout_ref.actor.optim.lr=1e-6 \\
    +reward.custom_reward_function.reward_kwargs.MAX_WORKERS=16 ++a.b="two words" \\
    'trainer.logger=["console","wandb"]' trainer.val_before_train=False \\
    data.first=1 data.first=2 data.gone=1 data.gone=null "$@" 2>&1 | tee log#1.txt
"""


def read(folder: Path, text: str, name: str = "run.sh") -> Launch:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_launch([path])


class TestScripts:
    def test_overrides(self, tmp_path: Path) -> None:
        assert read(tmp_path, SCRIPT).values == {
            "data.train_files": Unknown("$HOME/data/train.parquet"),
            "data.train_batch_size": 64,
            "actor_rollout_ref.actor.optim.lr": "1e-6",
            "reward.custom_reward_function.reward_kwargs.MAX_WORKERS": 16,
            "a.b": "two words",
            "trainer.logger": ["console", "wandb"],
            "trainer.val_before_train": False,
            "data.first": 2,
        }

    def test_variables_and_programs(self, tmp_path: Path) -> None:
        launch = read(tmp_path, SCRIPT)
        assert launch.variables == {
            "GENRM_BASE_URL": "http://judge:30000",
            "GENRM_BATCH_SIZE": "512",
            "GENRM_API_KEY": Unknown("$KEY"),
        }
        assert launch.modules == {"verl.trainer.main_ppo"}

    def test_variables_that_ray_hands_to_its_workers(self, tmp_path: Path) -> None:
        text = "x +ray_kwargs.ray_init.runtime_env.env_vars.GENRM_MAX_WORKERS=7"
        assert read(tmp_path, text).variables == {"GENRM_MAX_WORKERS": 7}

    @pytest.mark.parametrize(
        "text",
        [
            "args=(a.b=1 c.d=2)\nrun ${args[@]}",
            "a.b=1;c.d=2",
            "if true; then x a.b=1 && y c.d=2 & fi",
            "x a.b=1 # it's\nx c.d=2",
            "echo $#; x a.b=1 c.d=2 'never closed",
            "x a.b=1 \\\n\\\n  c.d=2",
            "x a.b=1 \\\n# a.b=3 \\\n  c.d=2",
            "x a.b=1 c.d='2'",
        ],
    )
    def test_ways_to_write_them(self, tmp_path: Path, text: str) -> None:
        values = read(tmp_path, text).values
        assert {key: int(value) for key, value in values.items()} == {"a.b": 1, "c.d": 2}

    def test_whole_branches(self, tmp_path: Path) -> None:
        text = """
            CONFIG={x} JSON='{"a": 1}' A={ python3 -m verl.trainer.main_ppo a.b=1 ++a={b:null,c:2} \\
            'custom_reward_function={path:x.py,name:f}' +reward_model=\\{enable:true,model:\\{path:$MODEL\\}\\} \\
            "reward.custom_reward_function={path: y.py, reward_kwargs: {BASE_URL: http://judge:30000}}" data=null
        """
        assert read(tmp_path, text).values == {
            "a.c": 2,
            "custom_reward_function.path": "x.py",
            "custom_reward_function.name": "f",
            "reward_model.enable": True,
            "reward_model.model.path": Unknown("$MODEL"),
            "reward.custom_reward_function.path": "y.py",
            "reward.custom_reward_function.reward_kwargs.BASE_URL": "http://judge:30000",
        }

    @given(text=st.text(st.sampled_from("ab.=+'\"\\$#();| \n"), max_size=60))
    def test_no_text_is_too_odd(self, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
        read(tmp_path_factory.mktemp("odd"), f"{text}\nx known.key=1")


class TestConfigurations:
    def test_what_hydra_composed(self, tmp_path: Path) -> None:
        text = "reward: {num_workers: 4, reward_manager: {name: dapo}}\nmodel: {path: '${a.b}'}\ncritic: null\n"
        launch = read(tmp_path, text, "config.yaml")
        assert launch.values == {
            "reward.num_workers": 4,
            "reward.reward_manager.name": "dapo",
            "model.path": Unknown("${a.b}"),
        }

    def test_hydras_overrides(self, tmp_path: Path) -> None:
        launch = read(tmp_path, "- data.train_batch_size=64\n- +a.b=x\n- c={d:1}\n", "overrides.yaml")
        assert launch.values == {"data.train_batch_size": 64, "a.b": "x", "c.d": 1}

    def test_the_later_file_wins(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("data: {train_batch_size: 1, val_batch_size: 1}")
        (tmp_path / "b.sh").write_text("x data.train_batch_size=2 data.n=3")
        launch = read_launch([tmp_path / "a.yaml", tmp_path / "b.sh"])
        assert launch.values == {"data.train_batch_size": 2, "data.val_batch_size": 1, "data.n": 3}
        assert launch.names == [str(tmp_path / "a.yaml"), str(tmp_path / "b.sh")]

    @pytest.mark.parametrize(
        ("branches", "expected"),
        [("trainer: {}\ncustom_reward_function: {name: x}", True), ("trainer: {}\nreward: {num_workers: 1}", False)],
    )
    def test_how_old_it_is(self, tmp_path: Path, branches: str, expected: bool) -> None:
        assert read(tmp_path, branches, "config.yml").composed_by_old is expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.sh", b"echo hello\n", "sets nothing of verl's; wanted is a launch script"),
        ("config.yaml", b"{}", "sets nothing of verl's"),
        ("config.yaml", b"just words", "sets nothing of verl's"),
        ("config.yaml", b"a: [", "is no YAML: while parsing"),
        ("run.sh", b"\xff\xfe a.b=1", "it is no text"),
    ],
)
def test_what_is_no_launch(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LaunchError, match=message):
        read_launch([tmp_path / name])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot be read: No such file"):
        read_launch([tmp_path / "nowhere.sh"])


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot be read: Is a directory"):
        read_launch([tmp_path])


def _is_flat(value: Any) -> bool:
    return not isinstance(value, dict)


def test_a_branch_is_flattened_to_its_leaves(tmp_path: Path) -> None:
    assert all(_is_flat(value) for value in read(tmp_path, "a: {b: {c: {d: [1, {e: 2}]}}}", "x.yaml").values.values())
