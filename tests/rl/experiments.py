"""What `python -m rl` does: learn from each judge, compare judges, compare what becomes of no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from rl import agreement, audit, curves, judging
from rl.command import PLUGINS, Plan
from rl.curves import Rises, Step
from rl.judging import RunningJudge
from rl.lab import CONTROL, Lab
from rl.plots import Line


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

        steps, found = lab.run(name, plan, judge, examine)
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

                steps, found = lab.run(folder, plan, judge, examine)
            complaints += found
            if len(steps) == plan.steps:  # else it has failed, and is told of above
                done[name].append(steps)
        lines = [Line(name, curves.mean_of(by_seed)) for name, by_seed in done.items() if by_seed]
        title = (
            f"A fifth of the calls gets no verdict; verl's {trainer} trainer, mean of {len(done['no faults'])} seed(s)"
        )
        lab.draw(title, lines, f"rl_no_verdicts_{trainer}.png")
    if complaints:
        return complaints
    rises = {name: Rises.of(by_seed) for name, by_seed in done.items()}
    for name, one in rises.items():
        lab.say(
            f"{name}: the reward rose by {one.paid:+.3f} in the mean of the seeds, the rule's score by {one.rule:+.3f}"
        )
    return curves.complaints_of_leaving_out(rises["no faults"], rises["left out"], rises["paid as zeros"])


def _asked_again(judge: RunningJudge, steps: Sequence[Step]) -> list[str]:
    questions = {audit.question(row) for step in steps for row in step.rows if audit.needs_judge(row)}
    return audit.complaints_of_rewards(steps, judging.ask_again(judge, sorted(questions)))
