r"""The ``\boxed{}`` macros of a text: where they stand, what word they hold, and which are quotations.

Everything here is linear in the text's length: the wrappers around a word are bounded in depth, and stretches of text
are looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BOX = re.compile(r"\\boxed\s*\{")
# What may stand around the word inside a box.
_WRAPPER = re.compile(
    r"""
    (?P<macro>\\(?:text|textbf|textit|textrm|textsf|texttt|textsc|textsl|textnormal|mathrm|mathbf|mathit|mathsf|mathtt
                 |mbox|hbox|emph|underline|operatorname|boldsymbol|bm|boxed)\s*\{)
    | (?P<brace>\{)
    | (?P<space>\s+|~(?!~)|\\[ ,;:!]
               |\\(?:bf|rm|it|sf|tt|bfseries|large|Large|LARGE|huge|Huge|displaystyle)(?![A-Za-z]))
    | (?P<same>\*{1,3}|_{1,2}|\${1,2}|`{1,3}|["'])
    | (?P<pair>\\[(\[]|[“‘«「『])
    """,
    re.VERBOSE,
)
_PAIRS = {r"\(": r"\)", r"\[": r"\]", "“": "”", "‘": "’", "«": "»", "「": "」", "『": "』"}
_WORD = re.compile(r"[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]")  # not IGNORECASE: to it, "Falſe" is the word too
_SPACE = re.compile(r"(?:\s|~|\\[ ,;:!])*")
_STOP = re.compile(r"[.。．]")
# Honest judges wrap once or twice. A bound on the depth is what keeps a reply of nested boxes linear.
_MAX_WRAPPERS = 8


@dataclass(frozen=True)
class Box:
    r"""One ``\boxed{...}``.

    Attributes:
        start: where its backslash stands.
        end: behind its closing brace; behind its opening brace where it holds no verdict.
        value: the verdict word in it, or None where it holds anything else or is never closed.
    """

    start: int
    end: int
    value: bool | None


def find_boxes(text: str) -> Iterator[Box]:
    r"""Every box in order. ``\boxed{\boxed{True}}`` is one box; a box inside one that holds no verdict is another."""
    position = 0
    while match := _BOX.search(text, position):
        value, position = _read_word(text, match.end())
        yield Box(match.start(), position, value)


def _read_word(text: str, start: int) -> tuple[bool | None, int]:
    """The verdict word of the box whose content begins at `start`, and where the box (or else its opening) ends."""
    position = start
    closers = ["}"]
    while wrapper := _WRAPPER.match(text, position):
        position = wrapper.end()
        if wrapper["space"] is None:
            closers.append(_closer_of(wrapper))
            if len(closers) > _MAX_WRAPPERS:
                return None, start
    word = _WORD.match(text, position)
    if word is None:
        return None, start
    end = _after_closers(text, word.end(), closers)
    return (None, start) if end is None else (word[0][0] in "Tt", end)


def _closer_of(wrapper: re.Match[str]) -> str:
    if wrapper["same"]:
        return wrapper["same"]
    if wrapper["pair"]:
        return _PAIRS[wrapper["pair"]]
    return "}"


def _after_closers(text: str, position: int, closers: list[str]) -> int | None:
    """Where all `closers` have come, innermost last in the list, with at most one full stop between; else None."""
    stops = 0
    while closers:
        space = _SPACE.match(text, position)
        position = space.end() if space else position
        if _STOP.match(text, position):
            stops += 1
            if stops > 1:
                return None
            position += 1
        elif text.startswith(closers[-1], position):
            position += len(closers.pop())
        else:
            return None
    return position


_BRACES = re.compile(r"(?P<box>\\boxed\s*\{)|\\[{}]|(?P<open>\{)|(?P<close>\})")


def box_open_at(text: str, first: int, position: int) -> bool:
    r"""Whether a box that starts at `first` or later is still open at `position`: ``\boxed{Not \boxed{True}``."""
    return any(_open_braces(text, first, position))


def brace_open_at(text: str, position: int) -> bool:
    r"""Whether any brace is open at `position`, as in ``\text{not \boxed{True}}``."""
    return bool(_open_braces(text, 0, position))


def _open_braces(text: str, first: int, position: int) -> list[bool]:
    """For each brace that is open at `position`, whether it is that of a box."""
    depth: list[bool] = []
    for brace in _BRACES.finditer(text, first, position):
        if brace["box"]:
            depth.append(True)
        elif brace["open"]:
            depth.append(False)
        elif brace["close"] and depth:
            depth.pop()
    return depth
