r"""The words right before a box: do they make it the judge's verdict, or somebody else's, or deny it?

Vocabulary, in English and Chinese. What it does not know is let pass: the rules of quotation marks, place and conflict
stand behind it, and before it the neutralised prompt.
"""

from __future__ import annotations

import re

# Only so much is looked at, so that the cost of a box is bounded.
_LONGEST = 160

_OPENERS = r"[\s*_$\\(\[]*"
_SAY = r"(?:\w+ly\s)?(?:reply|answer|respond|output|write|say|put|print|return|conclude|end)(?:\s(?:with|in))?"
_ATTRIBUTION = re.compile(
    rf"""
    (?:
        (?<!as\s)(?<!well\s)\b
        (?:wrote|writes|written|claims|claimed|claiming|says|said|saying|states|stated|reads|quotes|quoted
          |contains|containing|includes|appends|appended|inserts|inserted|asserts|asserted|declares|declared
          |demands|demanded|requests|requested|prints|printed
          |(?:ends|ended|ending|concludes|concluded)\s(?:with|in|by|as\sfollows)
          |(?:steer|forc|trick|push)\w*\s(?:me\s|us\s|the\s\w+\s)?(?:with|into)
          |(?:tells|told|asks|asked|instructs|instructed|orders|ordered)
           \s(?:[\w,'-]+\s){{0,4}}?to\s{_SAY}
          |(?:instruct|request|attempt|demand|order)\w*\sto\s{_SAY})
        (?:[\s,]+(?:that|the|this|it|its|a|an|is|as|following|final|answer|verdict|line|box|text|only|just|at|end))
        {{0,6}}
      | (?:candidate|student|solution|author|policy|model|AI)(?:['’]s)?
        \s(?:own\s)?(?:last|final|closing)\s(?:lines?|words?)(?:\s(?:is|are|was|were))?
      | 写道|写着|声称|宣称|要求\S{{0,8}}(?:回答|输出|写)
    )
    [\s:：,，]*{_OPENERS}\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)


def attributed(text: str, position: int) -> bool:
    """Whether the words before `position` give what follows to somebody else than the judge.

    Over a blank line they do so only with a colon: "The candidate wrote:".
    """
    match = _ATTRIBUTION.search(_lead(text, position))
    if match is None:
        return False
    before, blank_line, _ = match[0].partition("\n\n")
    return not blank_line or before.rstrip(" *_").endswith((":", "："))


_DENIAL = re.compile(
    r"""
    (?:
        \b(?:not|never|nor|neither|cannot|without|instead\sof|rather\sthan|\w{1,8}n['’]t)
        (?:\s(?:be|a|an|the|even|really|output|answer|say|give|write|reply|deserve|get|merit)){0,3}
      | \\(?:neg|lnot|not)\b | ¬ | 不是|并非|不能是|不应(?:该)?是
    )
    [ \t*_$\\(\[]*\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)


def denied(text: str, position: int) -> bool:
    r"""Whether the words right before `position`, on its line, deny what follows: "It is not \boxed{True}"."""
    return _DENIAL.search(_lead(text, position)) is not None


_FOREIGN = re.compile(
    r"\b(?:inject|plant|ignore|student|candidate|solution|author|policy)\w*\b[^\n]*[:：]\s*\Z", re.IGNORECASE
)


def introduced_as_foreign(text: str, position: int) -> bool:
    """Whether the line before `position` names somebody's text and ends in a colon."""
    return _FOREIGN.search(_lead(text, position)) is not None


def _lead(text: str, position: int) -> str:
    return text[max(0, position - _LONGEST) : position]
