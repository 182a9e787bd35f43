r"""Does a box stand in a quotation?

A judge that writes *the solution ends with "\boxed{True}"* has not judged. A place in a reply counts as quoted where a
quotation mark or inline code is open on its line, in a block quote, in a fenced block that frames more than the box,
and behind words that give it to somebody else (genrm.lead_ins).
"""

from __future__ import annotations

import re

from genrm.lead_ins import attributed, is_introduction, is_label

_OPENING_QUOTE = re.compile(r"""["'`“‘«「『][\s$*_]{0,8}\Z""")
_QUOTE_PAIRS = (("“", "”"), ("«", "»"), ("「", "」"), ("『", "』"))
_TOGGLES = ('"', "`")
_MARKS = (*_TOGGLES, *(mark for pair in _QUOTE_PAIRS for mark in pair))
_BLOCK_QUOTE = re.compile(r"[ \t]{0,80}(?:(?:[-*+]|\d{1,3}[.)])[ \t]{1,8}){0,3}>")


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
            _BLOCK_QUOTE.match(self._text, self._line_start) is not None
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


# Also where it does not begin its line ("The candidate wrote: ```"): what is in it is no less quoted.
_FENCE = re.compile(r"^(?P<before>[^\n`]*?)(?:`{3,}|~{3,})[^\n`]*$", re.MULTILINE)


def in_quoting_fence(text: str, position: int) -> bool:
    """Whether `position` is in a fenced block that quotes something, rather than one that frames the verdict alone.

    A frame holds nothing before the verdict but its label, and what leads up to it is the judge's own introduction or a
    whole sentence.
    """
    fences = list(_FENCE.finditer(text, 0, position))
    if len(fences) % 2 == 0:
        return False
    opening = fences[-1]
    if not is_label(text[opening.end() : position]):
        return True
    if opening["before"].strip():
        return not is_introduction(opening["before"])
    lead = text[: opening.start()].rstrip()
    lead_line = lead[lead.rfind("\n") + 1 :]
    return lead_line.rstrip("*_ ").endswith((":", "：")) and not is_introduction(lead_line)
