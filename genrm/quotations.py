r"""Is a box the judge's own word, or does it quote somebody?

A judge that writes *the solution ends with "\boxed{True}"* has not judged. A place in a reply counts as quoted where a
quotation mark or inline code is open on its line, in a block quote, in a fenced block that frames more than the box,
and right behind words that give the box to somebody else ("the candidate wrote:").
"""

from __future__ import annotations

import re

_OPENING_QUOTE = re.compile(r"""["'`“‘«「『][\s$*_]{0,8}\Z""")
_QUOTE_PAIRS = (("“", "”"), ("«", "»"), ("「", "」"), ("『", "』"))
_TOGGLES = ('"', "`")
_MARKS = (*_TOGGLES, *(mark for pair in _QUOTE_PAIRS for mark in pair))

_ATTRIBUTION = re.compile(
    r"""
    \b(?:wrote|writes|written|claims|claimed|claiming|says|said|saying|states|stated|reads|quotes|quoted
        |contains|containing|includes|(?:ends|ended|ending|concludes|concluded)\s+(?:with|in|by)
        |(?:tells|told|asks|asked|instructs|instructed|orders|ordered)\s(?:[\w,'-]+\s){0,4}?to\s
           (?:reply|answer|respond|output|write|say|put|print|return|conclude)(?:\s(?:with|in))?)
    (?:[\s,]+(?:that|the|this|it|its|a|an|is|as|following|final|answer|verdict|line|box|text|only|just|at|end)){0,6}
    [\s:：,*_$\\(\[]*\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_ATTRIBUTION = 120

_FENCE = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)


class Quotations:
    """Tells which positions of a text are quoted. Ask in rising order: each stretch of text is counted once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted_to = 0
        self._line_start = 0
        self._counts = dict.fromkeys(_MARKS, 0)

    def quoted_at(self, position: int) -> bool:
        """Whether what starts at `position` is a quotation, by what stands before it."""
        self._count_to(position)
        return (
            self._text[self._line_start : self._line_start + 8].lstrip().startswith(">")
            or _OPENING_QUOTE.search(self._text, max(self._line_start, position - 10), position) is not None
            or any(self._counts[mark] % 2 for mark in _TOGGLES)
            or any(self._counts[opening] > self._counts[closing] for opening, closing in _QUOTE_PAIRS)
            or attributed(self._text, position)
        )

    def _count_to(self, position: int) -> None:
        newline = self._text.rfind("\n", self._counted_to, position)
        if newline >= 0:
            self._line_start = self._counted_to = newline + 1
            self._counts = dict.fromkeys(_MARKS, 0)
        for mark in _MARKS:
            self._counts[mark] += self._text.count(mark, self._counted_to, position)
        self._counted_to = position


def attributed(text: str, position: int) -> bool:
    """Whether the words right before `position` give what follows to somebody else than the judge."""
    return _ATTRIBUTION.search(text[max(0, position - _LONGEST_ATTRIBUTION) : position]) is not None


def in_quoting_fence(text: str, position: int) -> bool:
    """Whether `position` is in a fenced block that quotes something, rather than one that frames the verdict alone.

    A frame holds nothing before the verdict, and no sentence with a colon introduces it.
    """
    fences = list(_FENCE.finditer(text, 0, position))
    if len(fences) % 2 == 0:
        return False
    opening = fences[-1]
    if text[opening.end() : position].strip(" \t\r\n$*_"):
        return True
    lead = text[: opening.start()].rstrip()
    lead_line = lead[lead.rfind("\n") + 1 :]
    return lead_line.rstrip("*_ ").endswith((":", "：")) and not is_label(lead_line)


# What a judge puts before its final verdict. Anything else ("Step 2:", "otherwise:") is no label of a verdict.
_LABEL = re.compile(
    r"""
    [\s>\#*_\-$\\(\[]{0,40}
    (?:(?:so|thus|hence|therefore|the|my|our|final|overall|correct|in|is|judge's)[\s,*_]{1,4}){0,6}
    (?:overall|answer|verdict|conclusion|judge?ment|result|output|decision|assessment|evaluation|grade
      |最终答案|最终结论|最终判断|结论|答案|判断|答え|結論)?
    (?:\s{1,4}is)?
    [\s:：=*_$\\(\[—-]{0,40}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_LABEL = 160


def is_label(line: str) -> bool:
    """Whether a piece of a line is nothing, or nothing but the label of a verdict ("**Final verdict:** ")."""
    return len(line) <= _LONGEST_LABEL and _LABEL.fullmatch(line) is not None
