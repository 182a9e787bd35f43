r"""A judge's reply -> a verdict: True, False, or none and why.

`parse_verdict` is total (any str, no exception) and linear in the length of the reply. The worst it could do is to
pay for a True that the judge never gave, so whatever is not clearly a verdict is none. The rules, in order:

1. A reply that did not finish by itself (finish_reason other than "stop") gives no verdict.
2. Only what comes after the last closing thinking tag counts; open thinking gives no verdict.
3. Chat control tokens are forgiven at the very ends; elsewhere they mean that the reply ran on into invented turns
   or repeats planted ones: no verdict. The same for a line that is one of our prompt's own section headers.
4. The last box holds exactly one of the words True and False, whatever the case; LaTeX, markdown and quote wrappers
   and one full stop are forgiven.
5. After it come only white space, closers of maths or emphasis, full stops, a closing fence or ``</answer>``.
6. A box in quotes, in inline code, in a block quote, in a quoting fence or given to somebody else is a quotation.
7. Where an earlier verdict box disagrees, the last wins only if it stands alone or labelled on its own line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from genrm.boxes import Box, box_open_at, find_boxes
from genrm.quotations import Quotations, in_quoting_fence, is_label


class Reason(str, Enum):
    """Why there is (no) verdict: a short stable code, and a stable number for training logs.

    The first block comes from the reply's text, the second from the request (set by the judge, not by the parser).
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
        value: True (right), False (wrong) or None (no verdict).
        reason: why there is none; with a value `Reason.OK`, or EMPTY_SOLUTION, which is False without asking.
    """

    value: bool | None
    reason: Reason

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason in _WITH_VALUE):
            raise ValueError(f"the reason {self.reason} does not go with the value {self.value}")


_FINISH = {
    "length": Reason.TRUNCATED,
    "abort": Reason.ABORTED,
    # [DONE] without a finish_reason is how vLLM ends the stream of a request aborted in the queue.
    None: Reason.ABORTED,
}


def parse_verdict(reply: str, finish_reason: str | None = "stop") -> Verdict:
    """Read the verdict of one reply.

    Args:
        reply: the text that the judge wrote ("" where the server sent null).
        finish_reason: the server's; None where it sent none.

    Returns:
        The verdict; never raises, whatever the text.
    """
    if finish_reason != "stop":
        return Verdict(None, _FINISH.get(finish_reason, Reason.UNFINISHED))
    answer = _after_thinking(reply)
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
    return _verdict_of_boxes(answer)


# -- thinking

_THINKING_FAMILIES = tuple(
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        (r"<think>", r"</think>"),
        (r"<thinking>", r"</thinking>"),
        (r"<thought>", r"</thought>"),
        (r"<reasoning>", r"</reasoning>"),
        (r"\[think\]", r"\[/think\]"),
        (r"◁think▷", r"◁/think▷"),
        (r"<seed:think>", r"</seed:think>"),
        # gpt-oss: every channel but the final one is thinking, so `final` closes what `<|channel|>` opened.
        (r"<\|channel\|>(?!\s*final\b)", r"<\|channel\|>\s*final\s*<\|message\|>"),
    )
)


def _after_thinking(reply: str) -> str | None:
    """What follows the last closing thinking tag; None where thinking is still open at the end.

    Each family of tags must close itself: a stray closing tag of another family, which a policy may have planted,
    does not end the judge's thinking.
    """
    answer_from = 0
    for opening, closing in _THINKING_FAMILIES:
        opened = _last_end(opening, reply)
        closed = _last_end(closing, reply)
        if opened > closed:
            return None
        answer_from = max(answer_from, closed)
    return reply[answer_from:]


def _last_end(pattern: re.Pattern[str], text: str) -> int:
    end = -1
    for match in pattern.finditer(text):
        end = match.end()
    return end


# -- control tokens and section headers --

_TOKEN = r"(?:<[|｜][^<>|｜\s]{1,60}[|｜]>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>)"
_CONTROL_TOKEN = re.compile(_TOKEN)
_LEADING_TOKENS = re.compile(r"\A(?:\s*(?:<s>|<bos>|<[|｜]begin[^<>|｜\s]{1,40}[|｜]>))+")
_LAST_TOKEN = re.compile(r"(?:<[|｜][^<>|｜\s]{1,60}[|｜]>|</s>|<eos>|<pad>|<end_of_turn>)\Z")
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


_PROMPT_HEADER = re.compile(
    r"^[ \t]*\[(?:Math Problem|AI Solution|Reference Answer)\][ \t]*$", re.IGNORECASE | re.MULTILINE
)

# -- boxes --

# Alternatives that start differently and never overlap, so that matching cannot backtrack.
_CLOSERS = re.compile(r"(?:[\s$*_.。．｡]|\\[)\]]|```|</answer>)*\Z", re.IGNORECASE)
_CLOSING_QUOTE = re.compile(r"""[\s$*_.]*(?!```)["'`”’»」』]""")


def _verdict_of_boxes(text: str) -> Verdict:
    boxes = list(find_boxes(text))
    if not boxes:
        return Verdict(None, Reason.NO_BOX)
    last = boxes[-1]
    if last.value is None or box_open_at(text, boxes[0].start, last.start):
        return Verdict(None, Reason.OFF_VOCABULARY)
    if _CLOSING_QUOTE.match(text, last.end):
        return Verdict(None, Reason.QUOTED)
    if not _CLOSERS.match(text, last.end):
        return Verdict(None, Reason.NOT_LAST)
    if Quotations(text).quoted_at(last.start) or in_quoting_fence(text, last.start):
        return Verdict(None, Reason.QUOTED)
    if _contradicted(text, boxes) and not is_label(text[text.rfind("\n", 0, last.start) + 1 : last.start]):
        return Verdict(None, Reason.CONFLICT)
    return Verdict(last.value, Reason.OK)


def _contradicted(text: str, boxes: list[Box]) -> bool:
    quotations = Quotations(text)
    *earlier, last = boxes
    return any(box.value is (not last.value) and not quotations.quoted_at(box.start) for box in earlier)
