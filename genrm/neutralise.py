r"""The candidate's text, made unable to speak for the judge.

A policy is rewarded for what the judge says, so it learns to say it itself: a box, a closing thinking tag, a chat
control token (servers parse ``<|im_end|>`` in user text as the real thing), one of our section headers. In each of
these the mark ``¦`` is put behind the first character: ``\¦boxed{True}``, ``<¦/think>``, ``<¦|im_end|>``,
``[¦AI Solution]``. The judge can still read the text, and no parser takes it for the construct.

Reversible, whatever the text holds: constructs are found with all marks thought away, each gets one mark more, and
`restore` takes one away again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MARK = "¦"

# Each alternative is the whole construct, or as much of its beginning as cannot be harmless.
_CONSTRUCTS = r"""
    \\boxed
  | </?(?:think|thinking|thought|reasoning|answer|role)\b | </?seed:\w
  | ◁/?think▷
  | <[|｜] | <\w+\|>
  | </?s> | <(?:bos|eos|pad|unk|sop|eop)> | <(?:start|end)_of_\w | <(?:unused|extra_id_|special_|longcat_)\w
  | <</?SYS>>
  | \[/?(?:think|inst|gmask|system_prompt|available_tools|tool_results|tool_calls)\]
  | \]~b\]
  | assistantfinal
  | \[\s*(?:math\s+problem|ai\s+solution|reference\s+answer)\s*\]
"""


class Neutraliser:
    """Neutralises texts; knows the constructs above and the special tokens it is given.

    Args:
        special_tokens: those of the judge's own tokenizer, where it is known.
    """

    def __init__(self, special_tokens: Iterable[str] = ()) -> None:
        # A single character cannot be broken up, so such a token is left as it is.
        own = [re.escape(token) for token in sorted(set(special_tokens)) if len(token) > 1]
        literal = f"|(?-i:{'|'.join(own)})" if own else ""
        # A look-ahead finds constructs that overlap, too.
        self._construct = re.compile(rf"(?=(?:{_CONSTRUCTS}{literal}))", re.VERBOSE | re.IGNORECASE)

    def neutralise(self, text: str) -> str:
        """`text` with one mark more in each construct."""
        return self._shift(text, 1)

    def restore(self, text: str) -> str:
        """What `neutralise` was given, from what it returned."""
        return self._shift(text, -1)

    def _shift(self, text: str, by: int) -> str:
        """`text` with `by` marks more behind the first character of each construct."""
        starts = [match.start() for match in self._construct.finditer(text.replace(MARK, ""))]
        if not starts:
            return text
        # Where the characters of the text without marks stand in the text with them, and its end.
        places = [place for place, character in enumerate(text) if character != MARK] + [len(text)]
        pieces: list[str] = []
        done = 0
        for start in starts:
            marks_from, marks_to = places[start] + 1, places[start + 1]
            pieces += text[done:marks_from], MARK * max(0, marks_to - marks_from + by)
            done = marks_to
        return "".join([*pieces, text[done:]])
