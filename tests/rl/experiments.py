"""What `python -m rl` does: learn from each judge, compare judges, compare what becomes of no verdict."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import httpx
from rich.console import Console

from judges.options import Options
from rl import agreement, audit, curves, judging, plots, runs
from rl.command import PLUGINS, Plan
from rl.curves import Step
from rl.judging import RunningJudge
from rl.plots import Line
from rl.runs import RunError
from tiny.shelf import get_judge, get_policy

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


def learn(lab: Lab) -> list[str]:
    """Train by each judge with each seed, and by the one that knows nothing; is vLLM up, see whether HF agrees."""
    complaints: list[str] = []
    for kind in lab.judges:
        with lab.judge(kind) as judge:
            for trainer in lab.trainers:
                complaints += _learn_from(lab, kind, trainer, judge)
            if kind == "vllm":
                complaints += _agreement(lab, judge)
    return complaints


def _learn_from(lab: Lab, kind: str, trainer: str, judge: RunningJudge) -> list[str]:
    learns = kind != CONTROL
    lines: list[Line] = []
    complaints: list[str] = []
    for seed in lab.seeds if learns else lab.seeds[:1]:
        name = f"{kind}-{trainer}-seed{seed}"
        plan = lab.plan(name, trainer, seed, judge)

        def examine(steps: Sequence[Step], asked: int, plan: Plan = plan) -> list[str]:
            found = curves.complaints(steps, plan.steps, plan.samples, learns=learns)
            found += audit.complaints_of_requests(steps, asked)
            if learns:  # the other one would say something else, and may lose its thread
                found += audit.complaints_of_fallbacks(steps)
                found += _asked_again(judge, steps)
            return found

        steps, found = _run(lab, name, plan, judge, examine)
        complaints += found
        lines.append(Line(f"seed {seed}", steps))
        title = f"GRPO on CPU, verl's {trainer} trainer; judge: {kind}"
        lab.draw(title, lines, f"rl_{kind}_{trainer}.png")  # after each: what comes next may be interrupted
    return complaints


def agree(lab: Lab) -> list[str]:
    """Ask vLLM and Hugging Face generate, with the same judge, about every case."""
    with lab.judge("vllm") as judge:
        return _agreement(lab, judge)


def _agreement(lab: Lab, vllm: RunningJudge) -> list[str]:
    said = {"vllm": _ask_all(lab, "vllm", vllm)}
    with lab.judge("hf") as judge:
        said["hf"] = _ask_all(lab, "hf", judge)
    result = agreement.compare(said)
    right = ", ".join(f"{name} {count} right" for name, count in result.right.items())
    lab.say(f"{result.cases - len(result.different)} of {result.cases} verdicts agree; {right}")
    return result.complaints()


def _ask_all(lab: Lab, name: str, judge: RunningJudge) -> dict[audit.Asked, float]:
    start = monotonic()
    verdicts = judging.ask_again(judge, agreement.questions())
    lab.say(f"{name}: asked about {len(verdicts)} cases in {monotonic() - start:.1f} s")
    return verdicts


def compare(lab: Lab) -> list[str]:
    """A fifth of the calls gets no verdict: paid as zeros, and left out by genrm_grpo; beside a run without faults."""
    return [complaint for trainer in lab.trainers for complaint in _compare(lab, trainer)]


def _compare(lab: Lab, trainer: str) -> list[str]:
    done: dict[str, list[Sequence[Step]]] = {name: [] for name in VARIANTS}
    complaints: list[str] = []
    for seed in lab.seeds:
        for name, variant in VARIANTS.items():
            with judging.mock(variant.no_verdicts) as judge:
                folder = f"{name.replace(' ', '-')}-{trainer}-seed{seed}"
                plan = lab.plan(folder, trainer, seed, judge)
                plan = replace(
                    plan,
                    # Asked once: a second attempt would get the verdict most of the time.
                    settings={**plan.settings, "GENRM_MAX_RETRIES": "1", "GENRM_ON_NO_VERDICT": variant.on_no_verdict},
                    estimator=variant.estimator,
                    plugins=(*PLUGINS, *variant.plugins),
                )

                def examine(
                    steps: Sequence[Step],
                    asked: int,
                    judge: RunningJudge = judge,
                    plan: Plan = plan,
                    variant: Variant = variant,
                ) -> list[str]:
                    return [
                        *curves.complaints_of_steps(steps, plan.steps, plan.samples),
                        *audit.complaints_of_requests(steps, asked),
                        *audit.complaints_of_faults(judge.faulty(), asked, variant.no_verdicts),
                    ]

                steps, found = _run(lab, folder, plan, judge, examine)
            complaints += found
            if steps:
                done[name].append(steps)
        lines = [Line(name, curves.mean_of(by_seed)) for name, by_seed in done.items() if by_seed]
        title = (
            f"A fifth of the calls gets no verdict; verl's {trainer} trainer, mean of {len(done['no faults'])} seed(s)"
        )
        lab.draw(title, lines, f"rl_no_verdicts_{trainer}.png")
    if complaints:
        return complaints
    for name, by_seed in done.items():
        lab.say(f"{name}: mean of the rule's scores over all steps and seeds {curves.mean_rule(by_seed):.3f}")
    return curves.complaints_of_leaving_out(done["no faults"], done["left out"], done["paid as zeros"])


def _run(
    lab: Lab, name: str, plan: Plan, judge: RunningJudge, examine: Callable[[Sequence[Step], int], list[str]]
) -> tuple[list[Step], list[str]]:
    """Run the plan, tell each step, and say what came of it. A run that fails does not keep the others from theirs.

    Returns:
        Its steps, as many as it came to, and what is wrong with it, in words.
    """
    start = monotonic()
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        bar = "█" * round(30 * step.reward)
        none = f", {step.no_verdicts} without verdict" if step.no_verdicts else ""
        lab.say(
            f"{name} step {step.number:2} of {plan.steps}: reward {step.reward:.3f}, rule {step.rule:.3f}{none}"
            f"  {monotonic() - start:4.0f} s {bar}"
        )

    asked: int | None = None
    try:
        before = judge.asked()
        with lab.console.status(f"{name}: verl starts; its log is {plan.folder / 'verl.log'}"):
            runs.run(plan, tell, judge.must_live)
        seconds, asked = monotonic() - start, judge.asked() - before
        found = examine(steps, asked)
    except (RunError, httpx.HTTPError) as error:
        seconds, found = monotonic() - start, [f"{error}"]
    _conclude(lab, name, steps, asked, seconds, found)
    return steps, [f"{name}: {complaint}" for complaint in found]


def _asked_again(judge: RunningJudge, steps: Sequence[Step]) -> list[str]:
    questions = {audit.question(row) for step in steps for row in step.rows if audit.needs_judge(row)}
    return audit.complaints_of_rewards(steps, judging.ask_again(judge, sorted(questions)))


def _conclude(
    lab: Lab, name: str, steps: Sequence[Step], asked: int | None, seconds: float, complaints: Sequence[str]
) -> None:
    rises = ""
    if steps:
        paid, rule = curves.rise([step.reward for step in steps]), curves.rise([step.rule for step in steps])
        rises = f" the reward rose by {paid:+.3f}, the rule's score by {rule:+.3f};"
    samples = sum(len(step.rows) for step in steps)
    lab.say(
        f"{name}: {'NOT AS IT SHOULD BE' if complaints else 'done'};{rises} {samples} samples, "
        f"{'nobody knows how many' if asked is None else asked} requests, {seconds:.0f} s"
    )
    for complaint in complaints:
        lab.say(f"{name}: {complaint}", style="red")
