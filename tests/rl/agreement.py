"""Do two servers of the same judge agree? Asked through genrm about every problem and every number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rl.audit import Asked
from tiny import domain
from tiny.judge import ENOUGH


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the verdicts of two servers compare.

    Attributes:
        cases: how many were asked of both.
        different: those whose verdicts differ, no verdict being a verdict of its own.
        right: how many each has right by the rule, by its name.
    """

    cases: int
    different: list[Asked]
    right: dict[str, int]

    def complaints(self) -> list[str]:
        """What is wrong with them, in words: two servers that both know nothing agree, too."""
        found = [
            f"{name} has {right} of {self.cases} right, and {ENOUGH:.0%} are wanted"
            for name, right in self.right.items()
            if right < ENOUGH * self.cases
        ]
        if self.different:
            found.append(f"{len(self.different)} verdicts differ, such as that on {' '.join(self.different[0])}")
        return found


def questions() -> list[Asked]:
    """All 1,900 triples, as the policy writes them."""
    return [(triple.problem.text, triple.problem.solution(triple.number)) for triple in domain.triples()]


def compare(said: Mapping[str, Mapping[Asked, float]]) -> Agreement:
    """The verdicts of two servers, by their names."""
    first, second = said.values()
    truth = dict(zip(questions(), (float(triple.is_right) for triple in domain.triples()), strict=True))
    return Agreement(
        len(first),
        [question for question in first if first[question] != second[question]],
        {name: _right(verdicts.items(), truth) for name, verdicts in said.items()},
    )


def _right(verdicts: Iterable[tuple[Asked, float]], truth: Mapping[Asked, float]) -> int:
    return sum(verdict == truth[question] for question, verdict in verdicts)
