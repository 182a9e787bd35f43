"""The place where runs are done: judges that are up, plans, what is told of a run, pictures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import httpx
from rich.console import Console

from judges.options import Options
from rl import curves, judging, plots, runs
from rl.command import Plan
from rl.curves import Step
from rl.judging import RunningJudge
from rl.plots import Line
from rl.runs import RunError
from tiny.shelf import get_judge, get_policy

CONTROL = "control"
"""A judge that learned the replies to other prompts, behind Hugging Face generate at temperature 1: it tosses coins."""
NO_VERDICT = -1.0
"""What a run pays where there is no verdict: nothing else pays it, so that it is known for what it is."""


@dataclass(frozen=True)
class Lab:
    """Where and how the runs are done."""

    console: Console
    judges: Sequence[str]
    judge_python: str
    trainers: Sequence[str]
    seeds: Sequence[int]
    steps: int
    work: Path

    def plan(self, name: str, trainer: str, seed: int, judge: RunningJudge) -> Plan:
        """A run in a fresh folder."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return Plan(
            folder=folder,
            policy=get_policy(seed, self.console),
            settings={**judge.settings, "GENRM_ON_NO_VERDICT": f"{NO_VERDICT}"},
            seed=seed,
            steps=self.steps,
            trainer=trainer,
        )

    @contextmanager
    def judge(self, kind: str) -> Iterator[RunningJudge]:
        """A judge that is up: mock, hf, vllm or control."""
        if kind == "mock":
            with judging.mock() as running:
                yield running
            return
        is_control = kind == CONTROL
        model = get_judge(0, self.console, shuffled=is_control)
        options = Options(
            "vllm-cpu" if kind == "vllm" else "hf",
            model=str(model),
            python=self.judge_python if kind == "vllm" else sys.executable,
            temperature=1.0 if is_control else None,
            work=self.work,
        )
        with judging.real(options, self.console) as running:
            yield running

    def say(self, text: str, style: str | None = None) -> None:
        """A line for whoever watches."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def draw(self, title: str, lines: Sequence[Line], file: str) -> None:
        """A picture in the lab's folder."""
        plots.draw(title, lines, self.work / file)
        self.say(f"picture: {self.work / file}")

    def run(
        self, name: str, plan: Plan, judge: RunningJudge, examine: Callable[[Sequence[Step], int], list[str]]
    ) -> tuple[list[Step], list[str]]:
        """Run the plan, tell each step, and say what came of it. A run that fails does not keep the others from theirs.

        Args:
            examine: its steps, and how often the judge was asked -> what is wrong, in words.

        Returns:
            Its steps, as many as it came to, and what is wrong with it, in words.
        """
        start = monotonic()
        steps: list[Step] = []

        def tell(step: Step) -> None:
            steps.append(step)
            bar = "█" * round(30 * step.reward)
            none = f", {step.no_verdicts} without verdict" if step.no_verdicts else ""
            self.say(
                f"{name} step {step.number:2} of {plan.steps}: reward {step.reward:.3f}, rule {step.rule:.3f}{none}"
                f"  {monotonic() - start:4.0f} s {bar}"
            )

        asked: int | None = None
        try:
            before = judge.asked()
            with self.console.status(f"{name}: verl starts; its log is {plan.folder / 'verl.log'}"):
                runs.run(plan, tell, judge.must_live)
            seconds, asked = monotonic() - start, judge.asked() - before
            found = examine(steps, asked)
        except (RunError, httpx.HTTPError) as error:
            seconds, found = monotonic() - start, [f"{error}"]
        self._conclude(name, steps, asked, seconds, found)
        return steps, [f"{name}: {complaint}" for complaint in found]

    def _conclude(
        self, name: str, steps: Sequence[Step], asked: int | None, seconds: float, complaints: Sequence[str]
    ) -> None:
        rises = ""
        if steps:
            paid, rule = curves.rise([step.reward for step in steps]), curves.rise([step.rule for step in steps])
            rises = f" the reward rose by {paid:+.3f}, the rule's score by {rule:+.3f};"
        samples = sum(len(step.rows) for step in steps)
        self.say(
            f"{name}: {'NOT AS IT SHOULD BE' if complaints else 'done'};{rises} {samples} samples, "
            f"{'nobody knows how many' if asked is None else asked} requests, {seconds:.0f} s"
        )
        for complaint in complaints:
            self.say(f"{name}: {complaint}", style="red")
