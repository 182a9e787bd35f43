"""The runs as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl.curves import Step


@dataclass(frozen=True, slots=True)
class Line:
    """A run's curve."""

    name: str
    steps: Sequence[Step]


def draw(title: str, lines: Sequence[Line], path: Path) -> None:
    """Two panels: what was paid, and what the rule says."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for line in lines:
        numbers = [step.number for step in line.steps]
        panels[0].plot(numbers, [step.reward for step in line.steps], label=line.name)
        panels[1].plot(numbers, [step.rule for step in line.steps], label=line.name)
    for panel, what in zip(panels, ("reward (paid by the judge)", "the rule's score (paid by nobody)"), strict=True):
        panel.set(title=what, xlabel="step", ylim=(0, 1))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("mean of the step's rollouts")
    panels[1].legend(loc="lower right", fontsize="small")
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
