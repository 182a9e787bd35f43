r"""The toy domain: "What is a+b?" for all digits a and b, solutions in a few forms, and what is no solution at all.

All of it can be listed: 100 problems, and 1,900 triples (a, b, n) of a problem and the number that a solution gives,
100 of them right. A tenth of the right and a tenth of the wrong ones is held out: no model sees them while it learns to
judge. The rule knows the truth; the judge is to learn it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

DIGITS = range(10)
NUMBERS = range(19)
"""All that a right answer can be."""
POLICY_FORM = "The answer is {n}."
"""How the policy is taught to answer."""
FORMS = (
    POLICY_FORM,
    "{n}",
    "{a}+{b}={n}",
    "{a}+{b}={n}. The answer is {n}.",
    "Answer: {n}",
    "\\boxed{{{n}}}",
    "The answer is \\boxed{{{n}}}.",
)
_WORDS = ("The", " answer", " is", " AI", "What", ".", "?", "+", "=", " ", "\n", "\\boxed{", "}", "Answer", ":", " or")
_HELD_OUT_SHARE = 10
_SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """What is a+b?"""

    a: int
    b: int

    @property
    def text(self) -> str:
        """As the policy and the judge read it."""
        return f"What is {self.a}+{self.b}?"

    @property
    def answer(self) -> int:
        """The right one."""
        return self.a + self.b

    def solution(self, number: object, form: str = POLICY_FORM) -> str:
        """A solution that gives that number."""
        return form.format(a=self.a, b=self.b, n=number)


@dataclass(frozen=True, slots=True)
class Triple:
    """A problem and the number that a solution to it gives."""

    problem: Problem
    number: int

    @property
    def is_right(self) -> bool:
        """Whether the number is the answer."""
        return self.number == self.problem.answer


@dataclass(frozen=True, slots=True)
class Case:
    """A solution that the judge is asked about."""

    problem: Problem
    solution: str

    @property
    def stated(self) -> str | None:
        """The one number that the solution gives, as it is written; None where it gives none, or several."""
        return stated(self.problem, self.solution)

    @property
    def is_right(self) -> bool:
        """What the rule says."""
        return rule_score(self.problem, self.solution) == 1.0

    @property
    def reply(self) -> str:
        r"""What the judge is taught to say: a critique of one line, and its verdict in a box on another."""
        said = f"The solution says {self.stated}." if self.stated else "The solution gives no number."
        p = self.problem
        return f"{p.a}+{p.b}={p.answer}. {said}\n\\boxed{{{self.is_right}}}"


def problems() -> list[Problem]:
    """All 100."""
    return [Problem(a, b) for a in DIGITS for b in DIGITS]


def triples() -> list[Triple]:
    """All 1,900."""
    return [Triple(problem, number) for problem in problems() for number in NUMBERS]


def held_out() -> frozenset[Triple]:
    """The 10 right and 180 wrong triples that the judge never sees in training. Always the same."""
    random = Random(_SPLIT_SEED)
    right = [triple for triple in triples() if triple.is_right]
    wrong = [triple for triple in triples() if not triple.is_right]
    return frozenset(triple for kind in (right, wrong) for triple in random.sample(kind, len(kind) // _HELD_OUT_SHARE))


def rule_score(problem: Problem, solution: str) -> float:
    """1.0 where the solution has one of the forms and gives the right number, else 0.0."""
    return float(stated(problem, solution) == str(problem.answer))


def stated(problem: Problem, solution: str) -> str | None:
    """The number that a solution of one of the forms gives, as it is written; None for all else."""
    for form in FORMS:
        # The number stands twice in one form, and must be the same there.
        pattern = re.escape(problem.solution("@", form)).replace("@", r"(\d+)", 1).replace("@", r"\1")
        if match := re.fullmatch(pattern, solution, re.ASCII):
            return match[1]
    return None


def held_out_cases() -> list[Case]:
    """The held-out triples in all forms; the right ones several times, so that half of the cases are right."""
    held = sorted(held_out(), key=lambda triple: (triple.problem.a, triple.problem.b, triple.number))
    right = [triple for triple in held if triple.is_right]
    wrong = [triple for triple in held if not triple.is_right]
    of_wrong = [Case(t.problem, t.problem.solution(t.number, FORMS[i % len(FORMS)])) for i, t in enumerate(wrong)]
    of_right = [Case(t.problem, t.problem.solution(t.number, form)) for t in right for form in FORMS]
    times = len(of_wrong) // len(of_right)
    return of_wrong + of_right * times


def training_cases(random: Random) -> Iterator[Case]:
    """Cases to learn from, without end: 45 % right, 35 % wrong, the rest odd numbers and garbage; none held out."""
    held = held_out()
    known = {(triple.problem, str(triple.number)) for triple in held}
    right = [triple for triple in triples() if triple.is_right and triple not in held]
    wrong = [triple for triple in triples() if not triple.is_right and triple not in held]
    while True:
        draw = random.random()
        if draw < 0.80:
            triple = random.choice(right if draw < 0.45 else wrong)
            yield Case(triple.problem, triple.problem.solution(triple.number, random.choice(FORMS)))
            continue
        problem = Problem(random.choice(DIGITS), random.choice(DIGITS))
        text = _odd_number(random, problem) if draw < 0.87 else garbage(random, problem)
        # A held-out solution could be written by chance.
        if (problem, stated(problem, text)) not in known:
            yield Case(problem, text)


def garbage(random: Random, problem: Problem) -> str:
    """What a policy writes that has lost its form, or tries its luck."""
    right = problem.answer
    other = random.choice([number for number in NUMBERS if number != right])
    pieces = random.choices([*_WORDS, *map(str, DIGITS)], k=random.randint(1, 7))
    return random.choice(
        (
            "".join(pieces),
            "".join(random.choices(_WORDS, k=random.randint(1, 6))),
            problem.solution(f"{right} or {other}"),
            problem.solution(f"{other} or {right}"),
            " ".join(str(random.choice(NUMBERS)) for _ in range(random.randint(2, 5))),
            f"The answer is{''.join(random.choices(_WORDS, k=random.randint(1, 4)))}.",
            "The answer is .",
        )
    )


def _odd_number(random: Random, problem: Problem) -> str:
    """A form filled with a number that is no answer to any problem, though it may look like this one's."""
    right = problem.answer
    digit = random.choice(DIGITS)
    number = random.choice((f"{right}{digit}", f"0{right}", f"{digit or 1}{right}", str(random.randint(19, 999))))
    return problem.solution(number, random.choice(FORMS))
