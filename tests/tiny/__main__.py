"""Train a tiny model from scratch and say how good it is.

python -m tiny judge                      reads our prompt and writes a verdict; about two minutes on two cores
python -m tiny judge --shuffled           learned the replies to other prompts: writes verdicts that mean nothing
python -m tiny policy                     is right about three times in ten
python -m tiny judge --out DIR --seed 1   somewhere else than in .cache/tiny, by another seed

Exits with 1 where the judge is not good enough: under 98 % on the held-out cases (shuffled: above 70 %).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tiny import domain, judge, policy
from tiny.cache import CACHE, kept, recipe
from tiny.models import Progress as Told

NOISE = 0.7
"""What a judge may get right that learned nothing: always False is right on 56 % of the held-out cases."""
POLICY_RANGE = (0.2, 0.4)


class NotGoodEnoughError(RuntimeError):
    """A judge that knows too little after its training. It is not kept."""


def main() -> int:
    """Train what the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser("python -m tiny", None, __doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("judge", "policy"))
    parser.add_argument("--out", type=Path, help="the folder for it (one in .cache/tiny)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--steps", type=int, default=judge.STEPS, help=f"of the judge's training ({judge.STEPS})")
    parser.add_argument("--shuffled", action="store_true", help="teach the judge nonsense")
    given = parser.parse_args()
    console = Console()
    if given.what == "policy":
        return _report_policy(get_policy(given.seed, console, given.out), console)
    folder = get_judge(given.seed, console, shuffled=given.shuffled, steps=given.steps, out=given.out)
    return _report_judge(folder, given.shuffled, console)


def get_judge(
    seed: int, console: Console, *, shuffled: bool = False, steps: int = judge.STEPS, out: Path | None = None
) -> Path:
    """The folder of a judge, trained unless it is there.

    Raises:
        NotGoodEnoughError: it learned too little.
    """
    name = f"judge-{'shuffled-' if shuffled else ''}{steps}"

    def make(folder: Path) -> None:
        with _bar(f"training {name}, seed {seed}", steps, console) as told:
            judge.train(folder, seed=seed, steps=steps, shuffled=shuffled, progress=told)
        grade = judge.grade(folder, domain.held_out_cases())
        if not shuffled and grade.accuracy < judge.ENOUGH:
            wanted = f"{judge.ENOUGH:.0%} are wanted, {steps} steps may be too few"
            raise NotGoodEnoughError(f"{name} is right on {grade.accuracy:.1%} of the held-out cases; {wanted}")

    return kept(out or _place(name, seed), make)


def get_policy(seed: int, console: Console, out: Path | None = None) -> Path:
    """The folder of a policy, trained unless it is there."""

    def make(folder: Path) -> None:
        with _bar(f"training policy, seed {seed}", policy.CLEAN_STEPS + policy.BLUR_STEPS, console) as told:
            policy.train(folder, seed=seed, progress=told)

    return kept(out or _place("policy", seed), make)


def _place(name: str, seed: int) -> Path:
    return CACHE / f"{name}-seed{seed}-{recipe()}"


def _report_judge(folder: Path, shuffled: bool, console: Console) -> int:
    held = judge.grade(folder, domain.held_out_cases())
    every = judge.grade(folder, [domain.Case(t.problem, t.problem.solution(t.number)) for t in domain.triples()])
    passed = held.accuracy <= NOISE if shuffled else held.accuracy >= judge.ENOUGH
    for title, grade in (("held-out cases", held), ("all triples", every)):
        console.print(f"{title}: {grade.right} of {grade.cases} right ({grade.accuracy:.1%}), {grade.unread} unread")
    console.print(f"{'good enough' if passed else 'NOT GOOD ENOUGH'}: {folder}", soft_wrap=True)
    return 0 if passed else 1


def _report_policy(folder: Path, console: Console) -> int:
    mean = policy.mean_reward(folder)
    low, high = POLICY_RANGE
    console.print(f"mean reward by the rule, sampled: {mean:.3f} (wanted: {low} to {high})\n{folder}", soft_wrap=True)
    return 0 if low <= mean <= high else 1


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


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotGoodEnoughError as error:
        sys.exit(f"FAILED: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
