r"""The candidate's text, made unable to speak for the judge.

A policy is rewarded for what the judge says, so it learns to say it itself: a box, a closing thinking tag, a chat
control token (servers parse ``<|im_end|>`` in user text as the real thing), one of our section headers. In each of
these the mark ``¦`` is put behind the first character: ``\¦boxed{True}``, ``<¦/think>``, ``<¦|im_end|>``,
``[¦AI Solution]``. The judge can still read the text, and no parser takes it for the construct. Constructs are found
also where they only look like themselves: in full width, or with characters between that cannot be seen.

Reversible, whatever the text holds: constructs are found with all marks thought away, each gets one mark more, and
`restore` takes one away again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from genrm.control_tokens import CONTROL_TOKENS

MARK = "¦"

_HEADER = r"(?:math[\s_‐-―-]*problem|ai[\s_‐-―-]*solution|reference[\s_‐-―-]*answer)"
_CONSTRUCTS = (
    *CONTROL_TOKENS,
    r"\\boxed",
    r"</?(?:think|thinking|thought|reasoning|answer)\b",
    r"\[/?think\]",  # Magistral
    r"◁/?think▷",  # Kimi
    r"assistantfinal",  # gpt-oss, without its control tokens
    r"(?<!\S)/(?:no_?)?think\b",  # what switches Qwen's thinking on and off
    # The headers of our prompt, also as emphasis or a heading of markdown.
    rf"[\[【〔]\s*{_HEADER}\s*[\]】〕]",
    rf"\*\*\s*{_HEADER}\s*:?\s*\*\*",
    rf"^\#{{1,6}}[^\S\n]*{_HEADER}\b",
)
# What they begin with: other places are not looked at, which makes it twice as fast.
_FIRST = r"[<\\\[\]◁a/【〔*#]"


class _Folding(dict[int, "str | None"]):
    """For `str.translate`: look-alikes become the characters they look like, and what cannot be seen goes."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        folded = unicodedata.normalize("NFKC", character)
        # One character for one, so that places can be told apart.
        self[code] = None if unicodedata.category(character) == "Cf" else folded if len(folded) == 1 else character
        return self[code]


_FOLDING = _Folding()


class Neutraliser:
    """Neutralises texts; knows the constructs above and the special tokens it is given.

    Args:
        special_tokens: those of the judge's own tokenizer, where it is known.
    """

    def __init__(self, special_tokens: Iterable[str] = ()) -> None:
        # A single character cannot be broken up, so such a token is left as it is.
        own = [re.escape(token) for token in sorted(set(special_tokens)) if len(token) > 1]
        # A look-ahead finds constructs that overlap, too.
        self._own = re.compile(rf"(?=(?:{'|'.join(own)}))") if own else None
        self._construct = re.compile(rf"(?={_FIRST})(?=(?:{'|'.join(_CONSTRUCTS)}))", re.IGNORECASE | re.MULTILINE)

    def neutralise(self, text: str) -> str:
        """`text` with one mark more in each construct."""
        return self._shift(text, 1)

    def restore(self, text: str) -> str:
        """What `neutralise` was given, from what it returned."""
        return self._shift(text, -1)

    def _shift(self, text: str, by: int) -> str:
        """`text` with `by` marks more behind the first character of each construct."""
        starts = self._starts(text.replace(MARK, ""))
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

    def _starts(self, plain: str) -> list[int]:
        """Where constructs begin in a text without marks, in order."""
        patterns = [self._construct, self._own] if self._own else [self._construct]
        starts = {match.start() for pattern in patterns for match in pattern.finditer(plain)}
        if not plain.isascii():
            found = [match.start() for match in self._construct.finditer(plain.translate(_FOLDING))]
            places = [place for place, character in enumerate(plain) if _FOLDING[ord(character)] is not None]
            starts |= {places[start] for start in found}
        return sorted(starts)
