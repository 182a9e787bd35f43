r"""Fenced blocks: does a box stand in one that quotes something, or in one that frames the judge's verdict?

A judge that shows the solution's end shows the policy's text, so what stands in a block must not be able to close it:
as in CommonMark only a run of the same character closes, at least as long as the one that opened, alone on its line.

Everything here is linear in the text's length: lines are looked at once for each of two readings, and in each
expression a run is followed only by what cannot begin with the run's character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from genrm.labels import is_introduction, is_label
from genrm.lead_ins import attributed

_EDGE = re.compile(
    r"(?P<indent>[ \t>]*)(?P<bullets>(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)*)(?P<run>`{3,}(?=[^`]*\Z)|~{3,})(?P<info>.*)",
    re.DOTALL,
)
_TICKS = re.compile(r"`{3,}")
_TILDES = re.compile(r"[:：]\s*(?P<run>~{3,})[ \t]*[\w+#-]*\s*\Z")
_LANGUAGE = re.compile(r"\s*[A-Za-z][\w+#-]*\s*")


@dataclass(frozen=True)
class _Fence:
    """A line that may open or close a block.

    Attributes:
        line: the whole line.
        start: where in the text the line begins.
        before: what stands before the run of backticks or tildes.
        run: that run.
        info: what stands behind it.
        closes: whether the line's shape is that of a closing fence.
        surely_opens: whether it opens a block in each reading. In the middle of a line a run may be just spoken of.
    """

    line: str
    start: int
    before: str
    run: str
    info: str
    closes: bool
    surely_opens: bool

    def closed_by(self, other: _Fence) -> bool:
        return other.closes and other.run[0] == self.run[0] and len(other.run) >= len(self.run)


def in_quoting_fence(text: str, position: int) -> bool:
    """Whether `position` is in a fenced block that quotes something, rather than one that frames the verdict alone.

    A run of backticks in the middle of a line may open a block or be spoken of ("It has a stray ```"): where it is not
    clear, both are tried, and one of them that quotes is enough.
    """
    fences = _fences(text[:position])
    return any(_quotes(text, position, _left_open(fences, doubtful)) for doubtful in (True, False))


def _quotes(text: str, position: int, opening: _Fence | None) -> bool:
    """Whether the block that `opening` opens quotes what stands at `position`.

    A frame holds nothing before the verdict but its label, and what leads up to it is the judge's own introduction or a
    whole sentence.
    """
    if opening is None:
        return False
    if not is_label(text[opening.start + len(opening.line) : position]):
        return True
    if opening.before.strip():
        return not is_introduction(opening.before)
    lead = text[: opening.start].rstrip()
    lead_line = lead[lead.rfind("\n") + 1 :]
    if lead_line.rstrip("*_ ").endswith((":", "：")):
        return not is_introduction(lead_line)
    return attributed(text, opening.start)


def _left_open(fences: list[_Fence], doubtful: bool) -> _Fence | None:
    """The fence that is open at the end. Those that may be just spoken of open a block only if `doubtful`."""
    opening: _Fence | None = None
    for fence in fences:
        if opening is None:
            opening = fence if doubtful or fence.surely_opens else None
        elif opening.closed_by(fence):
            opening = None
    return opening


def _fences(text: str) -> list[_Fence]:
    fences: list[_Fence] = []
    start = 0
    for line in text.split("\n"):
        if "```" in line or "~~~" in line:
            fence = _at_edge(line, start) or _in_prose(line, start)
            fences += [fence] if fence else []
        start += len(line) + 1
    return fences


def _at_edge(line: str, start: int) -> _Fence | None:
    match = _EDGE.match(line)
    if match is None:
        return None
    closes = not match["bullets"] and not match["info"].strip()
    return _Fence(line, start, match["indent"] + match["bullets"], match["run"], match["info"], closes, True)


def _in_prose(line: str, start: int) -> _Fence | None:
    """The run that is left open at the end of the line: "He wrote: ```". Tildes only after a colon."""
    if tildes := _TILDES.search(line):
        return _Fence(line, start, line[: tildes.start("run")], tildes["run"], "", False, True)
    opened: re.Match[str] | None = None
    for run in _TICKS.finditer(line):
        if opened is None:
            opened = run
        elif len(run[0]) == len(opened[0]):
            opened = None
    if opened is None:
        return None
    before, info = line[: opened.start()], line[opened.end() :]
    surely = before.rstrip(" *_").endswith((":", "：")) or _LANGUAGE.fullmatch(info) is not None
    return _Fence(line, start, before, opened[0], info, False, surely)
