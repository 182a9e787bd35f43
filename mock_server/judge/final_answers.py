r"""The final answer that a worked solution ends with, and when two of them are the same.

Looked for in this order: the last `\boxed{...}`, what follows the last `####` (GSM8K), the last line `A: ...`, what
follows the last `answer is`.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_BOX = r"\boxed{"
_MARKERS = ("####", "\nA:", "answer is")
_NUMBER = re.compile(r"[-+]?\d[\d,]{0,40}(?:\.\d{1,40})?|[-+]?\.\d{1,40}")
_DECORATION = str.maketrans("", "", "$\\{}*`~ ")


def final_answer(solution: str) -> str | None:
    """The normalised final answer of `solution`, or None when it does not state one."""
    boxed = _last_box(solution)
    if boxed is not None:
        return normalised(boxed)
    text = "\n" + solution
    for marker in _MARKERS:
        at = text.rfind(marker)
        if at >= 0:
            return normalised(text[at + len(marker) :].strip().split("\n", 1)[0])
    return None


def normalised(answer: str) -> str:
    """`answer` in the form in which equal answers are equal texts: a number if it holds one, else bare lower case."""
    bare = answer.translate(_DECORATION)
    number = _NUMBER.search(bare)
    if number is None or bare[: number.start()].strip(":=("):
        return bare.rstrip(".").lower()
    try:
        value = Decimal(number.group().replace(",", ""))
    except InvalidOperation:  # pragma: no cover - the pattern lets only numbers through
        return bare.lower()
    rest = bare[number.end() :]
    # A fraction, a power or a variable is more than its first number.
    return bare.rstrip(".").lower() if rest[:1] in {"/", "^", "x"} else f"{value.normalize() + 0:f}"


def _last_box(text: str) -> str | None:
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 1
    for at in range(start + len(_BOX), len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start + len(_BOX) : at]
    return None
