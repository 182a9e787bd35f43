r"""Boxes that disagree: which of them is the verdict, if any?"""

from __future__ import annotations

import re

from genrm.boxes import Box
from genrm.labels import is_bullet, is_label
from genrm.lead_ins import introduced_as_foreign, led_up_to_as_foreign
from genrm.quotations import Quotations

# Nobody quotes that often: such a reply is not looked through box by box.
_MANY = 200
# What stands between two options. Alternatives that start differently from the white space around them.
_CHOICE = re.compile(r"[\s*_$]*(?:or|and|vs\.?|versus|或者|或是|或|和|还是|[,;/|，、；])[\s*_$:]*", re.IGNORECASE)
_NOTHING = re.compile(r"[\s*_$.。\\()\[\]]*")


def contradicted(text: str, boxes: list[Box]) -> bool:
    """Whether an earlier box says the opposite of the last.

    A quotation does not, unless labelled as a verdict, or side by side with the last ("It asks for … or …").
    """
    quotations = Quotations(text)
    *earlier, last = boxes
    if earlier and earlier[-1].value is (not last.value) and _side_by_side(text, earlier[-1], last):
        return True
    opposite = [box for box in earlier if box.value is (not last.value)]
    return len(opposite) > _MANY or any(not quotations.quoted_at(box.start) or _labelled(text, box) for box in opposite)


def set_apart(text: str, boxes: list[Box]) -> bool:
    """Whether the last box stands alone or labelled on its own line, as the judge's own, and is no option in a list."""
    last = boxes[-1]
    label = _before_on_line(text, last)
    return (
        is_label(label)
        and not is_bullet(label)
        and not _one_of_two(text, boxes[-2], last)
        and not introduced_as_foreign(text, last.start)
        and not led_up_to_as_foreign(text, last.start)
    )


def _labelled(text: str, box: Box) -> bool:
    label = _before_on_line(text, box).rstrip("\"'`“‘«「『 ")
    return bool(label.strip(" *_#-")) and is_label(label)


def _one_of_two(text: str, other: Box, last: Box) -> bool:
    """Whether a box and the last are a list of options: "or" between them, or both bare, one below the other."""
    if _CHOICE.fullmatch(text, other.end, last.start):
        return True
    bare = _side_by_side(text, other, last) and _NOTHING.fullmatch(_before_on_line(text, other))
    return bool(bare) and other.value is (not last.value)


def _side_by_side(text: str, other: Box, last: Box) -> bool:
    """Whether there is nothing between two boxes, or no more than an "or"."""
    return any(between.fullmatch(text, other.end, last.start) for between in (_NOTHING, _CHOICE))


def _before_on_line(text: str, box: Box) -> str:
    return text[text.rfind("\n", 0, box.start) + 1 : box.start]
