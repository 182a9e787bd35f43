r"""What a judge writes on the line of its verdict, before it: ``**Final verdict:** \boxed{True}``."""

from __future__ import annotations

import re

# Only so much is looked at, so that the cost of a box is bounded.
_LONGEST = 160

# Words that a judge puts before its final verdict. Anything else ("Step 2:", "otherwise:") is no label of a verdict.
# "The correct answer" is the problem's and no verdict; "the corrected verdict" is one.
_LABEL = re.compile(
    r"""
    [\s>\#*_\-$\\(\[]{0,40}(?:\d{1,2}\.\s{1,4})?[*_]{0,3}
    (?:因此|所以|故|综上所述|综上|总之)?[，,：:\s*]{0,4}
    (?:(?:so|thus|hence|therefore|the|my|our|final|overall|revised|in|is|judge's
         |correct(?:ed)?(?=\s(?:final\s)?(?:verdict|judge?ment|assessment|evaluation|decision|grade)))
     [\s,*_]{1,4}){0,6}
    (?:overall|answer|verdict|conclusion|summary|judge?ment|result|output|decision|assessment|evaluation|grade
      |so|thus|hence|therefore
      |最终答案|最终结论|最终判断|最终判定|结论|答案|判断|判定|答え|結論)?
    (?:\s{1,4}is(?:\s{1,4}(?:therefore|thus|now))?|为|是|如下)?
    [\s:：=*_$\\(\[—–-]{0,40}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MY_VERDICT = re.compile(
    r"\b(?:my|the\s(?:final|overall))\b.{0,60}\b(?:verdict|answer|judge?ment|conclusion)\b", re.IGNORECASE
)
_BULLET = re.compile(r"\s*(?:[-*+•]|\(?\w{1,2}[.)])\s+")


def is_label(line: str) -> bool:
    """Whether a piece of a line is nothing, or nothing but the label of a verdict ("**Final verdict:** ").

    The label may come in two: "Final answer: the final answer is".
    """
    if len(line) > _LONGEST:
        return False
    first, _, second = line.partition(":")
    return _LABEL.fullmatch(line) is not None or all(_LABEL.fullmatch(part) for part in (first, second))


def is_introduction(line: str) -> bool:
    """Whether a line introduces the judge's own verdict ("Here is my final verdict:")."""
    return is_label(line) or (len(line) <= _LONGEST and _MY_VERDICT.search(line) is not None)


def is_bullet(line: str) -> bool:
    """Whether a piece of a line is nothing but a list's bullet."""
    return _BULLET.fullmatch(line) is not None
