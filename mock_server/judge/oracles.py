"""Who knows the truth: oracles decide whether a candidate's solution is right. Made once, asked for each request.

An oracle is a function of a Case; it gives True, False, or None when it does not know. The first that knows decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mock_server.judge import arithmetic
from mock_server.judge.final_answers import final_answer, normalised
from mock_server.judge.matching import Matcher, MatchIndex
from mock_server.prompts import JudgePrompt, canonical


@dataclass(frozen=True, slots=True)
class Case:
    """One solution to be judged. The canonical texts have no mark and single blanks (prompts.canonical)."""

    prompt: JudgePrompt
    problem: str
    solution: str

    @classmethod
    def of(cls, prompt: JudgePrompt) -> Case:
        return cls(prompt, canonical(prompt.problem), canonical(prompt.solution))


Oracle = Callable[[Case], "bool | None"]


def first_known(oracles: Sequence[Oracle], case: Case) -> bool | None:
    """What the first oracle says that knows the case, else None."""
    for oracle in oracles:
        truth = oracle(case)
        if truth is not None:
            return truth
    return None


def by_rules(rules: Iterable[tuple[Matcher, Matcher, bool]]) -> Oracle:
    """(problem, solution, verdict) triples, the first match wins. 1,000 plain rules cost what 10 do (MatchIndex)."""
    table = tuple(rules)
    index = MatchIndex([(problem, solution) for problem, solution, _ in table])

    def oracle(case: Case) -> bool | None:
        at = next(index.matching((case.problem, case.solution)), None)
        return None if at is None else table[at][2]

    return oracle


def by_pairs(pairs: Iterable[tuple[str, str, bool]]) -> Oracle:
    """A table of (problem, solution, verdict) for solutions whose verdict is known."""
    table = {(canonical(problem), canonical(solution)): verdict for problem, solution, verdict in pairs}
    return lambda case: table.get((case.problem, case.solution))


def by_ground_truth(answers: Iterable[tuple[str, str]]) -> Oracle:
    """(problem, right answer) pairs: a solution is right if and only if its final answer is that of its problem."""
    table = {canonical(problem): final_answer(answer) or normalised(answer) for problem, answer in answers}

    def oracle(case: Case) -> bool | None:
        expected = table.get(case.problem)
        return None if expected is None else final_answer(case.prompt.solution) == expected

    return oracle


def by_arithmetic() -> Oracle:
    """Wrong if an equation between numbers is wrong, right if all are right, unknown if there is none."""
    return lambda case: arithmetic.check(case.prompt.solution)


def always(verdict: bool | None) -> Oracle:
    """The same for everything; None ends the search with "nobody knows"."""
    return lambda _case: verdict
