r"""A judge's reply -> a verdict: True, False, or none and why.

`parse_verdict` is total (any str, no exception) and linear in the length of the reply. The worst it could do is to
pay for a True that the judge never gave, so whatever is not clearly a verdict is none. The rules, in order:

1. A reply that did not finish by itself (finish_reason other than "stop") gives no verdict.
2. Only what comes after the last closing thinking tag counts; open thinking gives no verdict, nor does a closing tag
   that closes nothing after one that did (genrm.thinking).
3. Chat control tokens are forgiven at the very ends; elsewhere they mean that the reply ran on into invented turns
   or repeats planted ones: no verdict. The same for a line that begins a turn without tokens ("User:"), or that is one
   of our prompt's own section headers or its first sentence.
4. The last box holds exactly one of the words True and False, whatever the case; LaTeX, markdown and quote wrappers
   and one full stop are forgiven.
5. After it come only marks that close something or mean nothing: full stops, ``**``, a fence, ``</answer>``, ``∎``
   (genrm.endings).
6. A box in quotes, in inline code, in a block quote, in a quoting fence, given to somebody else or denied is not the
   judge's (genrm.quotations, genrm.fences, genrm.lead_ins).
7. Where an earlier verdict box disagrees, the last wins only if it stands alone or labelled on its own line, and is not
   one of a list of options or introduced as somebody's (genrm.conflicts).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from genrm.boxes import box_open_at, find_boxes
from genrm.conflicts import contradicted, set_apart
from genrm.control_tokens import CONTROL_TOKENS, END_TOKENS
from genrm.endings import closes_a_quotation, ends_with
from genrm.fences import in_quoting_fence
from genrm.lead_ins import denied
from genrm.own_functions import OwnFunction
from genrm.quotations import Quotations
from genrm.thinking import after_thinking


class Reason(str, Enum):
    """Why there is (no) verdict: a short stable code, and a stable number for training logs.

    The first block comes from the reply's text, the second from the request (set by the judge, not by the parser), the
    third from neither.
    """

    OK = "ok", 0
    EMPTY = "empty", 1
    NO_BOX = "no_box", 2
    OFF_VOCABULARY = "off_vocabulary", 3
    NOT_LAST = "not_last", 4
    QUOTED = "quoted", 5
    CONFLICT = "conflict", 6
    OPEN_THINKING = "open_thinking", 7
    CONTROL_TOKEN = "control_token", 8
    PROMPT_ECHO = "prompt_echo", 9
    TRUNCATED = "truncated", 10
    ABORTED = "aborted", 11
    UNFINISHED = "unfinished", 12

    UNREACHABLE = "unreachable", 20
    TIMEOUT = "timeout", 21
    OVERLOADED = "overloaded", 22
    REFUSED = "refused", 23
    BAD_REPLY = "bad_reply", 24

    EMPTY_SOLUTION = "empty_solution", 30
    BY_RULE = "by_rule", 31
    UNPAID = "unpaid", 32

    number: int

    def __new__(cls, code: str, number: int) -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.number = number
        return member

    def __str__(self) -> str:
        return str(self.value)


_WITH_VALUE = frozenset({Reason.OK, Reason.EMPTY_SOLUTION})


@dataclass(frozen=True)
class Verdict:
    """What a reply says of a solution.

    Attributes:
        value: True (right), False (wrong) or None (no verdict); of a parser of one's own also a number between.
        reason: why there is none; with a value `Reason.OK`, or EMPTY_SOLUTION, which is False without asking.
    """

    value: bool | float | None
    reason: Reason

    def __post_init__(self) -> None:
        if self.value is not None and not 0 <= self.value <= 1:
            raise ValueError(f"a verdict is True, False or a number from 0 to 1, and not {self.value!r}")
        if (self.value is None) == (self.reason in _WITH_VALUE):
            raise ValueError(f"the reason {self.reason} does not go with the value {self.value}")


_FINISH = {
    "length": Reason.TRUNCATED,
    "abort": Reason.ABORTED,
    # [DONE] without a finish_reason is how vLLM ends the stream of a request aborted in the queue.
    None: Reason.ABORTED,
}


Reader = Callable[[str, str | None], Verdict]
"""Text and finish_reason of a reply -> its verdict."""


def reader_of(parse: Callable[[str], float | None]) -> Reader:
    """A reader around a parser of one's own, which sees whole answers alone: rules 1 to 3 hold before it.

    Args:
        parse: an answer -> True, False or a number from 0 to 1. Anything else is none: None, other numbers, errors.

    Raises:
        SettingsError: it is async.
    """

    number = OwnFunction(parse, may_be_none=True)

    def read(reply: str, finish_reason: str | None) -> Verdict:
        answer = _answer(reply, finish_reason)
        if isinstance(answer, Verdict):
            return answer
        value = number(answer)
        if value is None or not 0 <= value <= 1:
            return Verdict(None, Reason.OFF_VOCABULARY)
        return Verdict(value, Reason.OK)

    return read


def parse_verdict(reply: str, finish_reason: str | None = "stop") -> Verdict:
    """Read the verdict of one reply.

    Args:
        reply: the text that the judge wrote ("" where the server sent null).
        finish_reason: the server's; None where it sent none.

    Returns:
        The verdict; never raises, whatever the text.
    """
    answer = _answer(reply, finish_reason)
    return answer if isinstance(answer, Verdict) else _verdict_of_boxes(answer)


def _answer(reply: str, finish_reason: str | None) -> str | Verdict:
    """What of a reply is its answer; else the verdict that there is none."""
    if finish_reason != "stop":
        return Verdict(None, _FINISH.get(finish_reason, Reason.UNFINISHED))
    answer = after_thinking(reply)
    if answer is None:
        return Verdict(None, Reason.OPEN_THINKING)
    answer = _LEADING_TOKENS.sub("", answer)
    answer = _without_trailing_tokens(answer)
    if not answer.strip():
        return Verdict(None, Reason.EMPTY)
    if _CONTROL_TOKEN.search(answer):
        return Verdict(None, Reason.CONTROL_TOKEN)
    if _PROMPT_HEADER.search(answer):
        return Verdict(None, Reason.PROMPT_ECHO)
    return answer


# -- control tokens and section headers --

_CONTROL_TOKEN = re.compile("|".join(CONTROL_TOKENS))
_LEADING_TOKENS = re.compile(r"\A(?:\s*(?:<s>|<bos>|<[|｜]begin(?:_of_(?:text|sentence)|▁of▁sentence)[|｜]>))+")
_LAST_TOKEN = re.compile(rf"(?:{'|'.join(END_TOKENS)})\Z")
# A longer run of end tokens than this is a reply that did not stop by itself.
_MAX_TRAILING_TOKENS = 8
_LONGEST_TOKEN = 64


def _without_trailing_tokens(text: str) -> str:
    for _ in range(_MAX_TRAILING_TOKENS):
        text = text.rstrip()
        # Searching a short tail keeps this linear: a `\Z` pattern searched over the whole text is not.
        token = _LAST_TOKEN.search(text, max(0, len(text) - _LONGEST_TOKEN))
        if token is None:
            break
        text = text[: token.start()]
    return text


# Whole lines, as each alternative begins at a line's edge; a reply itself may begin with "Assistant:".
_PROMPT_HEADER = re.compile(
    r"""
    ^[\s>\#*_]{0,20}
    (?:
        \[\s?¦?(?:Math\s{1,3}Problem|AI\s{1,3}Solution|Reference\s{1,3}Answer)\s?\][\s*_:]{0,20}?$
      | The\ following\ is\ a\ math\ problem\ and\ an\ AI\ solution\b
      | (?:Human|User|(?<!\A)Assistant)[ \t*_]{0,5}:
      | (?:user|(?<!\A)assistant)[ \t\r]{0,5}$
    )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)

# -- boxes --


def _verdict_of_boxes(text: str) -> Verdict:
    boxes = list(find_boxes(text))
    if not boxes:
        return Verdict(None, Reason.NO_BOX)
    last = boxes[-1]
    if last.value is None or box_open_at(text, boxes[0].start, last.start):
        return Verdict(None, Reason.OFF_VOCABULARY)
    if closes_a_quotation(text, last):
        return Verdict(None, Reason.QUOTED)
    if not ends_with(text, last):
        return Verdict(None, Reason.NOT_LAST)
    if denied(text, last.start) or Quotations(text).quoted_at(last.start) or in_quoting_fence(text, last.start):
        return Verdict(None, Reason.QUOTED)
    if contradicted(text, boxes) and not set_apart(text, boxes):
        return Verdict(None, Reason.CONFLICT)
    return Verdict(last.value, Reason.OK)
