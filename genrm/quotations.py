r"""Does a box stand in a quotation?

A judge that writes *the solution ends with "\boxed{True}"* has not judged. A place in a reply counts as quoted where a
quotation mark or inline code is open on its line, in a block quote, and behind words that give it to somebody else
(genrm.lead_ins). Fenced blocks are looked at by genrm.fences.
"""

from __future__ import annotations

import re

from genrm.lead_ins import attributed

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
