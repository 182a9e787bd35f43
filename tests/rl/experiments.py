"""What `python -m rl` does: learn from each judge, compare judges, compare what becomes of no verdict."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from rich.console import Console

from judges.options import Options
from rl import agreement, audit, curves, judging, plots, runs
from rl.command import PLUGINS, Plan
from rl.curves import Step
from rl.judging import RunningJudge
from rl.plots import Line
from tiny.__main__ import get_judge, get_policy

CONTROL = "control"
"""A judge that learned the replies to other prompts, behind Hugging Face generate at temperature 1: it tosses coins."""


@dataclass(frozen=True)
class Variant:
    """What becomes of samples without verdict.

    Attributes:
        no_verdicts: the share of calls that are cut off.
        on_no_verdict, estimator, plugins: how genrm and verl take it.
    """

    no_verdicts: float = 0.2
    on_no_verdict: str = "zero"
    estimator: str = "grpo"
    plugins: tuple[str, ...] = ()


VARIANTS = {
    "no faults": Variant(no_verdicts=0.0),
    "paid as zeros": Variant(),
    "left out": Variant(on_no_verdict="skip", estimator="genrm_grpo", plugins=("genrm.verl_plugin",)),
}


@dataclass(frozen=True)
class Lab:
    """Where and how the runs are done."""

    console: Console
    judges: Sequence[str]
    judge_python: str
    trainer: str
    seeds: Sequence[int]
    steps: int
    work: Path

    def plan(self, name: str, seed: int, judge: RunningJudge) -> Plan:
        """A run in a fresh folder."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return Plan(
            folder=folder,
            policy=get_policy(seed, self.console),
            settings={**judge.settings, "GENRM_ON_NO_VERDICT": "zero"},
            seed=seed,
            steps=self.steps,
            trainer=self.trainer,
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


def learn(lab: Lab) -> list[str]:
    """Train by each judge with each seed, and by the one that knows nothing."""
    complaints: list[str] = []
    for kind in lab.judges:
        lines: list[Line] = []
        with lab.judge(kind) as judge:
            for seed in lab.seeds[:1] if kind == CONTROL else lab.seeds:
                name = f"{kind}-{lab.trainer}-seed{seed}"
                plan, before = lab.plan(name, seed, judge), judge.asked()
                steps = _train(lab, name, plan)
                asked = judge.asked() - before
                lines.append(Line(f"seed {seed}", steps))
                found = curves.complaints(steps, plan.steps, plan.samples, learns=kind != CONTROL)
                found += audit.complaints_of_requests(steps, asked)
                if kind != CONTROL:  # which would say something else
                    found += _asked_again(judge, steps)
                _conclude(lab, name, steps, asked, found)
                complaints += [f"{name}: {complaint}" for complaint in found]
        title = f"GRPO on CPU, verl's {lab.trainer} trainer; judge: {kind}"
        _draw(lab, title, lines, f"rl_{kind}_{lab.trainer}.png")
    return complaints


def agree(lab: Lab) -> list[str]:
    """Ask vLLM and Hugging Face generate, with the same judge, about every case."""
    said = {}
    for kind in ("vllm", "hf"):
        with lab.judge(kind) as judge:
            start = monotonic()
            said[kind] = judging.ask_again(judge, agreement.questions())
            lab.console.print(f"{kind}: {len(said[kind])} verdicts in {monotonic() - start:.1f} s", highlight=False)
    result = agreement.compare(said)
    right = ", ".join(f"{name} {count} right" for name, count in result.right.items())
    lab.console.print(f"{result.cases - len(result.different)} of {result.cases} verdicts agree; {right}")
    if not result.different:
        return []
    return [f"{len(result.different)} verdicts differ, such as that on {' '.join(result.different[0])}"]


def compare(lab: Lab) -> list[str]:
    """A fifth of the calls gets no verdict: paid as zeros, and left out by genrm_grpo; beside a run without faults."""
    ends: dict[str, list[Sequence[Step]]] = {name: [] for name in VARIANTS}
    for seed in lab.seeds:
        for name, variant in VARIANTS.items():
            with judging.mock(variant.no_verdicts) as judge:
                folder = f"{name.replace(' ', '-')}-{lab.trainer}-seed{seed}"
                plan = lab.plan(folder, seed, judge)
                plan = replace(
                    plan,
                    # Asked once: a second attempt would get the verdict most of the time.
                    settings={**plan.settings, "GENRM_MAX_RETRIES": "1", "GENRM_ON_NO_VERDICT": variant.on_no_verdict},
                    estimator=variant.estimator,
                    plugins=(*PLUGINS, *variant.plugins),
                )
                steps = _train(lab, folder, plan)
                ends[name].append(steps)
                _conclude(lab, folder, steps, judge.asked(), [])
    lines = [Line(name, curves.mean_of(by_seed)) for name, by_seed in ends.items()]
    _draw(lab, f"A fifth of the calls gets no verdict; mean of {len(lab.seeds)} seed(s)", lines, "rl_no_verdicts.png")
    return curves.complaints_of_leaving_out(*(ends[name] for name in ("left out", "paid as zeros")))


def _train(lab: Lab, name: str, plan: Plan) -> list[Step]:
    """Run the plan and tell each step."""
    start = monotonic()

    def tell(step: Step) -> None:
        bar = "█" * round(30 * step.reward)
        none = f", {step.no_verdicts} without verdict" if step.no_verdicts else ""
        lab.console.print(
            f"{name} step {step.number:2} of {plan.steps}: reward {step.reward:.3f}, rule {step.rule:.3f}{none}"
            f"  {monotonic() - start:4.0f} s {bar}",
            highlight=False,
            soft_wrap=True,
        )

    with lab.console.status(f"{name}: verl starts; its log is {plan.folder / 'verl.log'}"):
        return runs.run(plan, tell)


def _asked_again(judge: RunningJudge, steps: Sequence[Step]) -> list[str]:
    questions = {audit.question(row) for step in steps for row in step.rows if audit.needs_judge(row)}
    return audit.complaints_of_rewards(steps, judging.ask_again(judge, sorted(questions)))


def _conclude(lab: Lab, name: str, steps: Sequence[Step], asked: int, complaints: Sequence[str]) -> None:
    paid, rule = curves.rise([step.reward for step in steps]), curves.rise([step.rule for step in steps])
    lab.console.print(
        f"{name}: {'NOT AS IT SHOULD BE' if complaints else 'done'}; the reward rose by {paid:+.3f}, "
        f"the rule's score by {rule:+.3f}; {sum(len(step.rows) for step in steps)} samples, {asked} requests",
        highlight=False,
        soft_wrap=True,
    )
    for complaint in complaints:
        lab.console.print(f"{name}: {complaint}", style="red", markup=False, highlight=False, soft_wrap=True)


def _draw(lab: Lab, title: str, lines: Sequence[Line], file: str) -> None:
    plots.draw(title, lines, lab.work / file)
    lab.console.print(f"picture: {lab.work / file}", highlight=False, soft_wrap=True)
