"""What a critique reads like: English sentences from a small bank, quoting the solution, then the verdict's line."""

from __future__ import annotations

import re

from mock_server.judge.draws import Draws

_QUOTED_WORDS = 8
_MOST_QUOTES = 12

_OPENINGS = (
    "Let me go through the solution step by step.",
    "I will check each step of the solution against the problem.",
    "First I restate what is asked, then I check the reasoning.",
    "The question asks for a single value, so every step has to lead to it.",
    "I read the problem again and then follow the argument line by line.",
)
_STEPS_RIGHT = (
    'The step "{quote}" follows from what is given.',
    'I recomputed "{quote}" and got the same.',
    'Next comes "{quote}", which is consistent with the problem.',
    'The solution states "{quote}", and that is justified.',
)
_STEPS_WRONG = (
    'The step "{quote}" does not follow from what is given.',
    'I recomputed "{quote}" and got something else.',
    'The solution states "{quote}", but the problem says otherwise.',
    'Here the reasoning slips: "{quote}" leaves out a condition.',
)
_REMARKS_RIGHT = (
    "The quantities are used with the right units.",
    "No condition of the problem has been left out.",
    "The order of the operations is sound.",
    "The intermediate results agree with each other.",
    "An estimate of the size of the answer agrees as well.",
)
_REMARKS_WRONG = (
    "One condition of the problem has been overlooked.",
    "The mistake carries over to everything after it.",
    "The intermediate results do not agree with each other.",
    "An estimate of the size of the answer shows that something is off.",
    "The set-up is reasonable, yet the conclusion is not supported.",
)
_CONCLUSIONS_RIGHT = ("So the final answer is correct.", "The solution holds up.", "I find no mistake in it.")
_CONCLUSIONS_WRONG = (
    "So the final answer is not correct.",
    "The solution does not hold up.",
    "The mistake changes the result.",
)
_VERDICT_LINES = (
    r"\boxed{%s}",
    r"Final verdict: \boxed{%s}",
    r"**Final Verdict:** \boxed{%s}",
    r"\boxed{\text{%s}}",
)
# The solution is quoted word by word, and only words of harmless characters: no box, tag or fence gets through.
_HARMLESS = re.compile(r"[\w.,;:+*/=%$()'-]+").fullmatch


def critique(draws: Draws, solution: str, verdict: bool, min_words: int, max_words: int) -> str:
    """The reasoning that leads to `verdict`, of `min_words` to `max_words` words (0 gives the empty text)."""
    target = draws.integer("length", min_words, max_words)
    conclusion = draws.pick("conclusion", _CONCLUSIONS_RIGHT if verdict else _CONCLUSIONS_WRONG).split()
    quotes = _quotes(solution)
    words: list[str] = []
    sentences = 0
    while len(words) + len(conclusion) < target:
        words += _sentence(draws, sentences, quotes, verdict).split()
        sentences += 1
    room = max(0, max_words - len(conclusion))
    if len(words) > room:
        words = words[:room]
        words[-1:] = [word.rstrip(".,;:") + "." for word in words[-1:]]
    return " ".join([*words, *conclusion][:max_words])


def verdict_line(draws: Draws, verdict: bool) -> str:
    """The last line of a reply: one box, in one of the forms that judges use."""
    return draws.pick("verdict_line", _VERDICT_LINES) % verdict


def contradicting_line(verdict: bool) -> str:
    r"""A last line with two boxes that disagree: nobody can say which one counts."""
    return rf"Final verdict: \boxed{{{not verdict}}} or rather \boxed{{{verdict}}}"


def boxless_line(verdict: bool) -> str:
    """A last line that says the verdict in words but forgets the box."""
    return "In short, the solution is right." if verdict else "In short, the solution is wrong."


def _sentence(draws: Draws, index: int, quotes: list[str], verdict: bool) -> str:
    if index == 0:
        return draws.pick("opening", _OPENINGS)
    if quotes and index % 2:
        quote = quotes[(index // 2) % len(quotes)]
        return draws.pick(f"step {index}", _STEPS_RIGHT if verdict else _STEPS_WRONG).format(quote=quote)
    return draws.pick(f"remark {index}", _REMARKS_RIGHT if verdict else _REMARKS_WRONG)


def _quotes(solution: str) -> list[str]:
    """The beginnings of the solution's first lines, harmless words only."""
    quotes = []
    for line in solution.split("\n", _MOST_QUOTES)[:_MOST_QUOTES]:
        words = [word for word in line[:200].split() if _HARMLESS(word)][:_QUOTED_WORDS]
        if words:
            quotes.append(" ".join(words).rstrip(".,;:"))
    return [quote for quote in quotes if quote]
