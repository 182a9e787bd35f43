"""Where a reply's thinking ends and its answer begins."""

from __future__ import annotations

import re

_FAMILIES = tuple(
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        *(
            (rf"<{name}\b[^<>]{{0,40}}>", rf"</{name}\s{{0,8}}>")
            for name in ("think", "thinking", "thought", "reasoning")
        ),
        (r"\[think\]", r"\[/think\]"),  # Magistral
        (r"◁think▷", r"◁/think▷"),  # Kimi
        (r"<seed:think>", r"</seed:think>"),
        (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
        (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command A
        (r"<\|channel>", r"<channel\|>"),  # Gemma
        # gpt-oss: every channel but the final one is thinking, so `final` closes what `<|channel|>` opened.
        (r"<\|channel\|>(?!\s*final\b)", r"<\|channel\|>\s*final\s*<\|message\|>"),
        # The same, where the server dropped the control tokens and left their words.
        (r"\Aanalysis(?=[A-Z<])", r"assistantfinal"),
    )
)


def after_thinking(reply: str) -> str | None:
    """What follows the last closing thinking tag; None where thinking is still open at the end.

    Each family of tags must close itself: a stray closing tag of another family, which a policy may have planted,
    does not end the judge's thinking.
    """
    answer_from = 0
    for opening, closing in _FAMILIES:
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
