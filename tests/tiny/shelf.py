"""The trained models, each with its grade beside it: trained unless they are there, and refused if they are no use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tiny import domain, judge, policy
from tiny.cache import CACHE, kept, recipe
from tiny.judge import Grade
from tiny.models import Progress as Told

NOISE = 0.7
"""What a judge may get right that learned nothing: always False is right on 56 % of the held-out cases."""
POLICY_RANGE = (0.2, 0.4)
"""Where a policy's mean reward must lie before it is trained."""
_GRADE = "grade.json"


class NotGoodEnoughError(RuntimeError):
    """A model that learned too little, or too much. It is not kept."""


def get_judge(
    seed: int, console: Console, *, shuffled: bool = False, steps: int = judge.STEPS, out: Path | None = None
) -> Path:
    """The folder of a judge, trained unless it is there. Its grade is told.

    Args:
        shuffled: one that learned the replies to other prompts, and knows nothing.

    Raises:
        NotGoodEnoughError: it learned too little, or one that is to know nothing knows something.
    """
    name = f"judge-{'shuffled-' if shuffled else ''}{steps}"

    def make(folder: Path) -> None:
        with _bar(f"training {name}, seed {seed}", steps, console) as told:
            judge.train(folder, seed=seed, steps=steps, shuffled=shuffled, progress=told)
        grade = judge.grade(folder, domain.held_out_cases())
        if shuffled and grade.accuracy > NOISE:
            raise NotGoodEnoughError(f"{name} is to know nothing and is right on {grade.accuracy:.1%}")
        if not shuffled and grade.accuracy < judge.ENOUGH:
            wanted = f"{judge.ENOUGH:.0%} are wanted, {steps} steps may be too few"
            raise NotGoodEnoughError(f"{name} is right on {grade.accuracy:.1%} of the held-out cases; {wanted}")
        (folder / _GRADE).write_text(json.dumps(asdict(grade)))

    folder = kept(out or _place(name, seed), make)
    _say(
        console, f"{name}, seed {seed}: {Grade(**json.loads((folder / _GRADE).read_text())).in_words('held-out cases')}"
    )
    return folder


def get_policy(seed: int, console: Console, out: Path | None = None) -> Path:
    """The folder of a policy, trained unless it is there. How often it is right is told.

    Raises:
        NotGoodEnoughError: it is right too rarely, or too often, to show that it learns.
    """

    def make(folder: Path) -> None:
        with _bar(f"training policy, seed {seed}", policy.CLEAN_STEPS + policy.BLUR_STEPS, console) as told:
            policy.train(folder, seed=seed, progress=told)
        mean, (low, high) = policy.mean_reward(folder), POLICY_RANGE
        if not low <= mean <= high:
            raise NotGoodEnoughError(f"policy, seed {seed}: its mean reward is {mean:.3f}, not {low} to {high}")
        (folder / _GRADE).write_text(json.dumps({"mean_reward": mean}))

    folder = kept(out or _place("policy", seed), make)
    mean = json.loads((folder / _GRADE).read_text())["mean_reward"]
    _say(console, f"policy, seed {seed}: mean reward {mean:.3f} by the rule, sampled, before it is trained")
    return folder


def _place(name: str, seed: int) -> Path:
    return CACHE / f"{name}-seed{seed}-{recipe()}"


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def _bar(title: str, steps: int, console: Console) -> Iterator[Told]:
    """A progress bar; where nobody watches, a line now and then."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=steps)

        def told(step: int, loss: float) -> None:
            progress.update(bar, completed=step, description=f"{title}, loss {loss:.4f}")
            if not console.is_terminal and step % 200 == 0:
                console.print(f"{title}: step {step} of {steps}, loss {loss:.4f}", highlight=False)

        yield told
