"""Check the equations between numbers that a solution states: `3 * 4 = 12`, `16 - 3 - 4 = 9`, `<<9*2=18>>`.

Only plain numbers with + - * x / are read; anything with a bracket or a variable is passed over. A result may be
rounded: it counts as right when it is within half a unit of its last digit.
"""

from __future__ import annotations

import re

_NUMBER = r"\$?(?:\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,15})?|\.\d{1,15})%?"
_SPACE = r"[ \t]{0,3}"
# A match takes the whole chain whether or not an equals sign follows, and every repetition in it is bounded or starts
# with an operator: so no character is looked at more than a few times, whatever the candidate writes.
_CHAIN = re.compile(rf"{_NUMBER}(?:{_SPACE}[-+*x×/÷]{_SPACE}{_NUMBER})*")
_TERM = re.compile(rf"([-+*x×/÷]?){_SPACE}\$?([\d,.]+)(%?)")
_EQUALS = re.compile(rf"{_SPACE}={_SPACE}")
_OPERATORS = frozenset("+-–−*×/÷^)")
_TOUCHING = frozenset("._\\({^")
_RELATIVE_ERROR = 1e-9


def check(text: str) -> bool | None:
    """False if any equation in `text` is wrong, True if all are right, None if there is none."""
    found = None
    left: re.Match[str] | None = None
    for right in _CHAIN.finditer(text):
        if left and _EQUALS.fullmatch(text, left.end(), right.start()):
            holds = _holds(text, left, right)
            if holds is False:
                return False
            found = found or holds
        left = right
    return found


def _holds(text: str, left: re.Match[str], right: re.Match[str]) -> bool | None:
    """Whether both sides of an equals sign are the same; None if they are not arithmetic."""
    if _goes_on_before(text, left.start()) or _goes_on_after(text, right.end()):
        return None
    try:
        (value, terms, unit), (claimed, claimed_terms, claimed_unit) = _evaluated(left), _evaluated(right)
    except ZeroDivisionError:
        return None
    if terms == claimed_terms == 1:
        return None
    room = max(unit, claimed_unit) / 2 + _RELATIVE_ERROR * abs(value)
    return abs(value - claimed) <= room


def _goes_on_before(text: str, start: int) -> bool:
    """Whether a letter, a bracket, another number (`3 1/2`)... makes a chain the end of something else."""
    before = text[max(0, start - 4) : start]
    touching, last = before[-1:], before.rstrip(" \t$")[-1:]
    return touching.isalnum() or touching in _TOUCHING or last in _OPERATORS or last.isdigit()


def _goes_on_after(text: str, end: int) -> bool:
    after = text[end : end + 4]
    # `= 3 (apples)` and a full stop are fine; `= 3x`, `= 3^2`, `= 3(4)` and `= 350 000` are not the whole result.
    touching, first = after[:1], after.lstrip(" \t")[:1]
    return touching.isalnum() or touching in {"(", "_", "{"} or first == "^" or first.isdigit()


def _evaluated(match: re.Match[str]) -> tuple[float, int, float]:
    """Value and number of terms of a chain, and the unit of its last digit (0 for more than one term)."""
    total = product = 0.0
    terms = _TERM.findall(match.group())
    for operator, digits, percent in terms:
        number = float(digits.replace(",", "")) / (100 if percent else 1)
        if operator in {"*", "x", "×"}:
            product *= number
        elif operator in {"/", "÷"}:
            product /= number
        else:
            total += product
            product = -number if operator == "-" else number
    digits, percent = terms[-1][1:]
    decimals = len(digits.partition(".")[2]) + (2 if percent else 0)
    # Only a lone number can be a rounded result; `10 / 4` is not known less exactly for its 4.
    return total + product, len(terms), 10.0**-decimals if len(terms) == 1 else 0.0
