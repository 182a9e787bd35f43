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
    """What follows the last closing thinking tag; None where thinking is still open, or it is not clear where it ended.

    Each family of tags must close itself: a stray closing tag of another family, which a policy may have planted,
    does not end the judge's thinking. A family that closed once closes again only what it opened again, or right away:
    else the judge speaks of a tag, and what stands before it is its answer.
    """
    answer_from = 0
    for opening, closing in _FAMILIES:
        closed = -1
        for match in closing.finditer(reply):
            start = match.start()
            if closed >= 0 and not opening.search(reply, closed, start) and reply[closed:start].strip():
                return None
            closed = match.end()
        if opening.search(reply, max(0, closed)):
            return None
        answer_from = max(answer_from, closed)
    return reply[answer_from:]
