r"""The words right before a box: do they make it the judge's verdict, or somebody else's, or deny it?

Vocabulary, in English and Chinese. What it does not know is let pass: the rules of quotation marks, place and conflict
stand behind it, and before it the neutralised prompt. The expressions are put together from groups of words below.

Only the last 160 characters before a box are looked at, and repeats are bounded, so the cost of a box is, too.
"""

from __future__ import annotations

import re

_LONGEST = 160

# Who else may speak. "The AI solution" counts as the solution.
_SOMEBODY = r"(?:candidate|student|solution|author|policy|model|AI(?:\ssolution)?)"
# Who is to be talked into something, and into what.
_GRADER = r"(?:me|us|you|(?:the\s)?(?:grader|judge|evaluator|reviewer)s?)"
_WRITE = r"(?:\w+ly\s)?(?:reply|answer|respond|output|write|say|put|print|return|end)(?:t?ing)?(?:\s(?:with|in))?"
_SAY = rf"(?:{_WRITE}|conclude)"
# Reports of what is written somewhere, whoever wrote it.
_REPORTS = r"""
    \b
    (?:wrote|writes|written|claims|claimed|claiming|says|said|saying|states|stated|reads|quotes|quoted
      |contains|containing|includes?d?|appends|appended|inserts|inserted|asserts|asserted|declares|declared
      |demands|demanded|requests|requested|prints|printed|injects|injected|embeds|embedded|hides|plants|planted
      |pre-?fill(?:s|ed)|pretends|elicits?
      |(?:ask(?:s|ed)?|begs?|begged|hopes?|hoped)\sfor
      |(?:ends|ended|ending|concludes|concluded|finish(?:es|ed)|closes|closed)\s(?:with|in|by|as\sfollows)
      |ended\sup\swith|\w{3,12}s\sitself(?:\sas)?)
"""
# What only somebody else does: the solution may "get" a verdict of the judge, and "this gives" one.
_DOES = r"""
    \s(?:\w+ly\s|then\s|also\s|just\s)?
    (?:answer(?:s|ed)?|conclude[sd]?|output(?:s|ted)?|box(?:es|ed)|gives|gave|got|obtain(?:s|ed)|arrive[sd]\sat
      |return(?:s|ed)|puts?|chose|selected|present(?:s|ed)|report(?:s|ed)|produce[sd]|provide[sd]|derive[sd]
      |shows|adds|added|places|has|had|wants|expects|finish(?:es|ed)|ends)
"""
# What is somebody's. Not the verdict: "the solution's verdict" is the judge's on it.
_THING = r"(?:answer|conclusion|box|step|statement|result|line|text|word|output|end)s?"
_LAST_LINE = r"(?:(?:last|final|closing)\s(?:line|step|statement|box|word)s?|text|line|box)"
_IS = r"(?:\s(?:is|are|was|were))"
# What the grader is told, wanted or made to say.
_INSTRUCTIONS = rf"""
    \b(?:tell|told|ask|instruct|(?<!in\s)order|wants|tries|trying|attempt|urge|prompt|(?:direct|beg|say)s|command|persuade
        |said)\w*\s(?:[\w,'-]+\s){{0,4}}?to\s{_SAY}
  | \b(?:instruct|request|attempt|demand|(?<!in\s)order|command|directive)\w*{_IS}?(?:\sto|:)\s{_SAY}
  | \b(?:get|make|making|have|force|forcing|manipulate|trick|push|convince|coerce)\s{_GRADER}\s(?:to\s|into\s)?{_WRITE}
  | \b(?:says|suggests|demands)\s(?:that\s)?(?:I|we|graders?)\s(?:should\s|must\s|have\sto\s)?{_SAY}
  | \b(?:steer|forc|trick|push)\w*\s(?:me\s|us\s|the\s\w+\s)?(?:with|into)
"""
# The same in Chinese: who wrote what, and what the grader is told to say.
_CHINESE = r"""
    写道|写着|声称|宣称|(?<!按)(?<!按照)(?<!根据)(?:要求|让|命令|提示|指示)[^\s，。,]{0,8}(?:回答|输出|写)
    |(?:学生|考生|解答|候选人)的?(?:最终|最后)?(?:答案(?:是|为)?|给出|得出|写了?|认为|一行(?:是|为))
"""
_ATTRIBUTION = re.compile(
    rf"""
    (?:
        (?<!\bas\s)(?<!\bwell\s)  # "as written", "as instructed", "as well stated"
        (?:
            {_REPORTS}
          | {_INSTRUCTIONS}
          | \b(?:spurious|stray|fake|bogus|hidden|injected|planted|embedded)(?:\s(?:verdict|text|box|line))?{_IS}?
          | (?P<somebody>\b{_SOMEBODY}{_DOES}
          | \b{_SOMEBODY}['’]s\s(?:(?:own|boxed|final|last|closing)\s){{0,2}}{_THING}{_IS}?
          | \b(?:reference|expected)\s(?:final\s)?(?:answer|output){_IS}
          | \b{_SOMEBODY}\s(?:own\s)?(?:last|final|closing)\s(?:lines?|words?){_IS}?
          | \b(?:{_LAST_LINE}\s(?:at\sthe\send\s)?(?:of|in)|according\sto)\sthe\s{_SOMEBODY}(?:['’]s\s\w+)?{_IS}?)
        )
        (?:[\s,]+(?:that|the|this|it|its|a|an|is|as|following|final|answer|verdict|line|box|text|only|just|at|end))
        {{0,6}}
      | {_CHINESE}
    )\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Before a report: the judge speaks of its own verdict ("my verdict reads") or the problem ("what the problem states").
_OWN = re.compile(
    r"""
    (?:
        (?:(?:\A|[\n.;]|\b(?:so|hence|thus|therefore),?)\s{0,4}[*_]{0,3}(?:my|our|the)\s(?:final\s|overall\s)?
           (?:verdict|critique|review|evaluation|assessment|judge?ment)
          |\bwhat\sthe\s(?:problem|question|task))
        \s
    )\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Before what is somebody's: it was only judged, or what was judged agrees with it ("it matches the student's answer").
_JUDGED = re.compile(
    r"""
    \b(?:of|on|for|about|against|regarding|equals|confirms?|accept|(?:match|agree|consistent|coincide)\w*(?:\swith)?
        |(?:check|review|verif|evaluat|assess|grad|judg|examin|compar)\w*)
    \s(?:the\s|this\s)?\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
# What may stand between the words and the box: white space, openers of mathematics, emphasis and brackets ...
_OPENERS = " \t*_$\\([("
# ... and tags and macros that frame the verdict.
_FRAME = re.compile(r"(?:<(?:answer|verdict)>|\\text(?:bf)?\{)\Z", re.IGNORECASE)


def attributed(text: str, position: int) -> bool:
    """Whether the words before `position` give what follows to somebody else than the judge.

    Over a blank line they do so only with a colon: "The candidate wrote:".
    """
    lead = _lead(text, position)
    words = _before_box(lead, "\r\n:：,，")
    match = _ATTRIBUTION.search(words)
    if match is None or (_JUDGED if match["somebody"] else _OWN).search(words, 0, match.start()):
        return False
    blank_line = _BLANK_LINE.search(lead, match.start())
    return blank_line is None or lead[: blank_line.start()].rstrip(" \t\r*_").endswith((":", "："))


# Words that deny what follows.
_NOT = r"""(?:
    not|never|nor|neither|cannot|without|instead\sof|rather\sthan|\w{1,8}n['’]t|no\s(?:longer|way)
   |refuse[sd]?|reject|decline|fail(?:s|ed)?|far\sfrom|(?<!be\s)anything\sbut|hardly|disagree
   |(?:wrong|incorrect)\sto|prevents|opposite
)"""
# What may stand between: words of form, of judging and of saying, so that the denial is still the verdict's. No others:
# "does not contain errors" denies something else.
_FORM = r"that|it|this|the|is|as|are|was|be|been|to|of|with|in|for|a|an|its|my|even|really|simply|fully|entirely"
_DOUBT = r"necessarily|clearly|quite|yet|longer|think|believe|consider|case|good\sconscience"
_JUDGING = (
    r"verdict|answer|answering|solution|conclusion|conclude|final|overall|mark(?:ed)?|grade|graded|rated?|judged?"
)
_CALLING = r"call(?:ed)?|give|giving|say|write|reply|output|outputting"
_EARNING = r"receive|earn|get|deserve|merit|warrant|justify|support|qualify"
_CHINESE_NOT = (
    r"(?:不(?:能够?|应该?|应当|会|可能|该|值得|等于)?|无法|并非|而非|拒绝|没有理由)"
    r"(?:被?判(?:定|断)?|输出|给出?|得出|回答|标记|认定|视)?(?:为|是|成)?"
)
_DENIAL = re.compile(
    rf"""
    (?:
        \b{_NOT}(?:\s(?:{_FORM}|{_DOUBT}|{_JUDGING}|{_CALLING}|{_EARNING})){{0,8}}
      | \\(?:neg|lnot|not|neq|ne)\b | [¬≠]
      | {_CHINESE_NOT}
    )\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)


# On lines above only the bare word, as "cannot give a verdict" may end a critique; "correct or not:" is a question.
_NOT_ABOVE = re.compile(r"(?<!\bor\s)\bnot[\s:：]*\Z", re.IGNORECASE)


def denied(text: str, position: int) -> bool:
    r"""Whether the words right before `position` deny what follows: "It is not \boxed{True}"."""
    lead = _before_box(_lead(text, position))
    return _DENIAL.search(lead) is not None or _NOT_ABOVE.search(lead) is not None


_FOREIGN = re.compile(
    r"\b(?:inject|plant|ignore|student|candidate|solution|author|policy)\w*\b[^\n]*[:：]\Z", re.IGNORECASE
)


def introduced_as_foreign(text: str, position: int) -> bool:
    """Whether the line before `position` names somebody's text and ends in a colon."""
    return _FOREIGN.search(_before_box(_lead(text, position), "\r\n")) is not None


_FOREIGN_THING = re.compile(
    rf"""
    \b(?:reference|expected|correct|given|its|{_SOMEBODY}(?:['’]s)?)\s(?:(?:own|boxed|final|last|correct)\s){{0,2}}{_THING}
     (?:\s(?:given|is|was|had|got)){{0,2}}\Z
  | \b(?:answer|output)\sgiven(?:\s(?:is|was))?\Z
  | \b(?:got|had)\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)


def led_up_to_as_foreign(text: str, position: int) -> bool:
    r"""Whether the last words before `position`, on whatever line, deny it or name somebody's text: "rather than"."""
    words = _before_box(_lead(text, position), "\r\n:：,，")
    return _DENIAL.search(words) is not None or _FOREIGN_THING.search(words) is not None


def _lead(text: str, position: int) -> str:
    return text[max(0, position - _LONGEST) : position]


def _before_box(lead: str, also: str = "") -> str:
    """The words of a lead: it, without what may stand between them and the box."""
    words = lead.rstrip(_OPENERS + also)
    frame = _FRAME.search(words, max(0, len(words) - 10))
    return words[: frame.start()].rstrip(_OPENERS + also) if frame else words
