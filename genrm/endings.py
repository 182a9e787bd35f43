r"""What may follow the last box of a reply: marks that close something or mean nothing, and no words."""

from __future__ import annotations

import re

from genrm.boxes import Box, brace_open_at
from genrm.labels import is_label

# Alternatives that start differently and never overlap, so that matching cannot backtrack; a closing fence is a whole
# run, so that there is one way to match it.
_CLOSERS = re.compile(
    r"""
    (?:
        [\s$*_.。．｡!！]
      | [\u200b-\u200f\u2060\ufeff]                   # cannot be seen
      | [∎□■] | \\(?:blacksquare|square|qed)\b          # the end of a proof
      | \\[)\]]
      | `{3,}(?!`) | ~{3,}(?!~)
      | </(?:answer|verdict)>
    )*\Z
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CLOSING_QUOTE = re.compile(r"""[\s$*_.]*(?!```)["'`”’»」』]""")
_SPARE_BRACES = re.compile(r"\}*")
# What may frame the whole line of the verdict.
_FRAMES = (("(", ")"), ("\\text{", "}"), ("\\textbf{", "}"))
_STOPS = re.compile(r"[.。*_$]{0,8}")


def closes_a_quotation(text: str, box: Box) -> bool:
    """Whether a quotation mark follows the box."""
    return _CLOSING_QUOTE.match(text, box.end) is not None


def ends_with(text: str, box: Box) -> bool:
    """Whether a reply ends with the box, as the judge's last word."""
    return _CLOSERS.match(text, _after_spare_braces(text, _after_frame(text, box), box)) is not None


def _after_frame(text: str, box: Box) -> int:
    """Behind the bracket that frames the line of the verdict, box and label alone: "(Final verdict: …)"."""
    line = text[text.rfind("\n", 0, box.start) + 1 : box.start].lstrip(" *_$")
    stops = _STOPS.match(text, box.end)
    end = stops.end() if stops else box.end
    for opening, closing in _FRAMES:
        if line.startswith(opening) and is_label(line[len(opening) :]) and text.startswith(closing, end):
            return end + len(closing)
    return box.end


def _after_spare_braces(text: str, end: int, box: Box) -> int:
    """Behind closing braces too many, unless they could close something that the box stands in."""
    if not text.startswith("}", end) or brace_open_at(text, box.start):
        return end
    braces = _SPARE_BRACES.match(text, end)
    return braces.end() if braces else end
