"""How verl is run: its command line (`verl.yaml`), its environment, its data."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from judges.programs.program import Program
from tiny import domain

ROOT = Path(__file__).parents[2]
PLUGINS = ("rl.on_cpu",)
ON_CPU = Path(__file__).with_name("verl.yaml")
_ENVIRONMENT = {
    "VERL_ENGINE_DEVICE": "cuda",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


@dataclass(frozen=True)
class Plan:
    """One training run.

    Attributes:
        folder: for its data, its rollouts and its log.
        policy: the folder of the model that is trained.
        settings: genrm's, as GENRM_* variables.
        prompts, group: problems a step, and rollouts of each.
        rate: the learning rate.
        trainer: v1 is verl's default.
        plugins: modules that verl loads in every process.
    """

    folder: Path
    policy: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    steps: int = 34
    prompts: int = 32
    group: int = 8
    rate: float = 6e-4
    trainer: str = "v1"
    estimator: str = "grpo"
    plugins: tuple[str, ...] = PLUGINS

    @property
    def samples(self) -> int:
        """Rollouts a step."""
        return self.prompts * self.group


def program(plan: Plan) -> Program:
    """verl's trainer as it is run for the plan."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**_ENVIRONMENT, "PYTHONPATH": path, "VERL_USE_EXTERNAL_MODULES": ",".join(plan.plugins)}
    return Program(
        [sys.executable, "-m", "verl.trainer.main_ppo", *overrides(plan)],
        environment | dict(plan.settings),
        own_variables=("GENRM_", "RAY_", "VERL_"),
    )


def overrides(plan: Plan, file: Path = ON_CPU) -> list[str]:
    """verl's configuration for the plan, out of a file, as Hydra reads it on a command line."""
    values = {**asdict(plan), "samples": plan.samples, "v1": plan.trainer == "v1"}
    table: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [f"{key}={_filled(value, values)}" for key, value in table.items()]


def _filled(value: Any, values: Mapping[str, Any]) -> str:
    return value.format_map(values) if isinstance(value, str) else json.dumps(value)


def write_data(plan: Plan) -> None:
    """The 100 problems, as verl reads them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "data_source": "tiny/sums",
            "prompt": [{"role": "user", "content": problem.text}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(problem.answer)},
            "extra_info": {"split": "train", "index": index, "question": problem.text},
        }
        for index, problem in enumerate(domain.problems())
    ]
    plan.folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), plan.folder / "train.parquet")
