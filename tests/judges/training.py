"""A short GRPO run of verl beside a judge that sleeps while the policy is updated, on CPU or on a GPU.

On CPU it is `rl`'s, with its tiny policy; on a GPU it is verl as it comes, with a small Qwen (`verl_gpu.yaml`). Both
take their policy loss from `judges.update_probe`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from judges import cases
from judges.host import StartError
from judges.launch import Judge
from judges.log_view import last_lines
from rl import command
from rl.command import Plan
from rl.runs import DONE, RunError, watch

PROMPTS, GROUP = 8, 4
"""Problems a step, and rollouts of each."""
_ON_GPU = Path(__file__).with_name("verl_gpu.yaml")
_PROBE = "judges.update_probe"
_LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
_POLICY = """
from rich.console import Console
from tiny.shelf import get_policy
print(get_policy(0, Console(stderr=True)))
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run has left."""

    scores: Sequence[float]
    """The reward of each rollout, of all steps."""
    asleep_in_updates: Sequence[bool]
    """Of each server of the judge, each time that the policy's loss was computed."""


def train(judge: Judge, settings: Mapping[str, Any], python: str, folder: Path, steps: int, policy: str) -> Trained:
    """Train for some steps. All of verl's processes end with it.

    Args:
        settings: of genrm, by their names without the prefix.
        python: the one that verl is installed for.
        folder: for all that is written.
        policy: what is trained on a GPU.

    Raises:
        RunError: verl failed, or hangs; with the end of its log.
    """
    plan = _plan(judge, settings, python, folder, steps, policy)
    if judge.gpus:
        _write_problems(folder)
    else:
        command.write_data(plan)
    log, probe = folder / "verl.log", folder / "updates.jsonl"
    asked = {"backend": judge.backend, "servers": judge.workers(), "file": str(probe)}
    whole = command.program(plan)
    words = words_on_gpu(plan) if judge.gpus else [*command.overrides(plan), f"{_LOSS}=watched"]
    environment = {**whole.environment, "UPDATE_PROBE": json.dumps(asked)}
    if judge.gpus:
        environment |= judge.gpus.environment
        del environment["HF_HUB_OFFLINE"]  # the policy may have to be downloaded
    how = watch(replace(whole, command=[python, *whole.command[1:3], *words], environment=environment), log)
    if how != DONE:
        raise RunError(f"verl {how}; its log {log} ends with\n{last_lines(log, 40)}")
    rollouts = [folder / "rollouts" / f"{step}.jsonl" for step in range(1, steps + 1)]
    scores = [json.loads(line)["score"] for path in rollouts for line in path.read_text().splitlines()]
    asleep = [one for line in probe.read_text().splitlines() for one in json.loads(line)]
    return Trained(scores, asleep)


def words_on_gpu(plan: Plan) -> list[str]:
    """verl's command line for a plan, on the GPU that the judge is on."""
    return command.overrides(plan, _ON_GPU)


def _plan(judge: Judge, settings: Mapping[str, Any], python: str, folder: Path, steps: int, policy: str) -> Plan:
    more = {"USE_OFFLOAD": True, "BATCH_SIZE": PROMPTS * GROUP}
    return Plan(
        folder=folder,
        policy=Path(policy) if judge.kind.gpu else _tiny_policy(python),
        settings={f"GENRM_{name}": str(value) for name, value in {**settings, **more}.items()},
        steps=steps,
        prompts=PROMPTS,
        group=GROUP,
        plugins=(_PROBE,) if judge.kind.gpu else (*command.PLUGINS, _PROBE),
    )


def _tiny_policy(python: str) -> Path:
    """The tiny policy, trained if need be."""
    path = os.pathsep.join([str(command.ROOT), str(command.ROOT / "tests")])
    made = subprocess.run(
        [python, "-c", _POLICY], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    if made.returncode:
        raise StartError(f"the tiny policy cannot be trained (exit code {made.returncode}); why is said above")
    return Path(made.stdout.splitlines()[-1])


def _write_problems(folder: Path) -> None:
    """The problems of the cases, as verl reads them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    answers = {
        case.problem: re.findall(r"\\boxed\{(.*)\}", case.solution)[-1] for case in cases.load("gsm8k") if case.label
    }
    rows = [
        {
            "data_source": "gpu_e2e",
            "prompt": [{"role": "user", "content": f"{problem} Put the final answer into \\boxed{{}}."}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": answer},
            "extra_info": {"split": "train", "index": index, "question": problem},
        }
        for index, (problem, answer) in enumerate(answers.items())
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
