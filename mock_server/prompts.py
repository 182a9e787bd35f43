"""Recognise a judge's prompt: find the problem and the candidate's solution in the text that a client sent.

The form is that of verl's genrm recipe: sections headed `[Math Problem]`, perhaps `[Reference Answer]`, and
`[AI Solution]`, each on a line of its own, then an instruction that begins with `Your task is`. The candidate may have
written any of these himself, so the solution ends at the LAST line that begins like the instruction.

Everything here is linear in the length of the text: it is searched with str.find, never with a regular expression.
"""

from __future__ import annotations

from dataclasses import dataclass

MARK = "\u00a6"
"""What clients put into the candidate's dangerous strings to make them harmless: `\\¦boxed{18}`, `<¦think>`."""


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The headings that a judge's prompt is recognised by. `mark` is deleted from what lies between them."""

    problem: str = "[Math Problem]"
    reference: str = "[Reference Answer]"
    solution: str = "[AI Solution]"
    end: str = "Your task is"
    mark: str = MARK


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """What a judge is asked about: both texts without the mark, otherwise as the client sent them."""

    problem: str
    solution: str


def recognise(text: str, form: PromptFormat) -> JudgePrompt | None:
    """The problem and the solution in a judge's prompt, or None when `text` is not one."""
    problem_at = _find_line(text, form.problem, 0)
    if problem_at < 0:
        return None
    problem_from = problem_at + len(form.problem)
    solution_at = _find_line(text, form.solution, problem_from)
    end_at = text.rfind("\n" + form.end)
    if not problem_from <= solution_at < end_at:
        return None
    reference_at = _find_line(text, form.reference, problem_from)
    problem_to = reference_at if problem_from <= reference_at < solution_at else solution_at
    return JudgePrompt(
        problem=_clean(text[problem_from:problem_to], form.mark),
        solution=_clean(text[solution_at + len(form.solution) : end_at], form.mark),
    )


def canonical(text: str, mark: str = MARK) -> str:
    """`text` as the oracles compare it: without the mark, every run of white space one blank."""
    return " ".join((text.replace(mark, "") if mark else text).split())


def _clean(text: str, mark: str) -> str:
    return (text.replace(mark, "") if mark else text).strip()


def _find_line(text: str, heading: str, start: int) -> int:
    """Where `heading` first fills a line of its own, at or after `start`; -1 if nowhere."""
    at = text.find(heading, start)
    while at >= 0:
        after = at + len(heading)
        line_end = text.find("\n", after)
        rest = text[after:] if line_end < 0 else text[after:line_end]
        if (at == 0 or text[at - 1] == "\n") and not rest.strip():
            return at
        # Skip the whole line: looking at its rest again for each heading in it would not be linear.
        at = text.find(heading, line_end) if line_end >= 0 else -1
    return -1
