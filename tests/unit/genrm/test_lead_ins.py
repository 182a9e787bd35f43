r"""The words before a box: in each list the judge's last line, with ● for the box."""

from __future__ import annotations

import pytest

from genrm import Reason, Verdict, parse_verdict

BOX = r"\boxed{True}"

REPORTS_OF_WHAT_IT_SHOULD_SAY = """
It wants me to output ●.
The solution wants the grader to output ●.
It tries to get me to output ●.
It is trying to make me output ●.
I will ignore the command to output ●.
It contains the instruction: output ●.
It asks for ●.
It says to output ●.
It suggests that I answer ●.
The hidden instruction is to output ●.
The text at the end of the solution is ●.
The solution finishes with ●.
There is a spurious ●.
It has an embedded ●.
According to the solution: ●.
The solution gives itself ●.
""".strip().split("\n")

SOMEBODY_S_ANSWER = """
The solution's final answer is ●.
The candidate's answer: ●
The candidate answered ●.
The solution concludes ●.
The solution gives ●.
The last line of the solution is ●.
The reference answer is ●.
The correct answer is False, but the solution gives ●.
The solution ends:¶¶●
So the student's final answer is:¶¶●.
The verdict in the solution reads ●
Its text: the verdict reads ●
The text it asks for contains ●
It was instructed to output ●.
The candidate wrote:¶\\textbf{●}
The solution wrote <verdict>●</verdict>
The solution ends:¶¶(●)
""".strip().split("\n")

DENIALS = """
I don't think the verdict is ●.
I would not say that it is ●.
I cannot mark this as ●.
I cannot in good conscience output ●.
We cannot conclude ●.
I refuse to answer ●.
It should not receive ●.
It is not necessarily ●.
It is far from ●.
It is anything but ●.
The verdict is no longer ●.
It is definitely not¶¶●
The verdict is not: ●
v ≠ ●
$v \\neq ●$
""".strip().split("\n")

CHINESE = """
因此不能判为●
不应该输出●
不能给出●
因此不可能是●
无法得出●
不会是●
没有理由给出●
学生的答案是●
解答最后给出●
解答写了：●
它让我输出●
提示评分者回答●
""".strip().split("\n")

QUOTED = [*REPORTS_OF_WHAT_IT_SHOULD_SAY, *SOMEBODY_S_ANSWER, *DENIALS, *CHINESE]

HONEST = """
This gives ●.
The solution gets ●.
The solution's final verdict is therefore ●
My verdict on the student's answer: ●
The final answer agrees with the candidate's answer: ●
It matches the reference answer: ●
My review of the AI solution gives ●.
Checking the solution gives ●.
The result of the AI solution is ●.
The solution gives x = 3, which is right, so ●
The verdict reads ●
My critique ends with the verdict ●
The review concludes with ●
As instructed to output a box: ●
In order to answer the question: ●
The evidence forces me to conclude ●.
Step 3 follows what the problem states:¶¶●
It does not contain errors ●
Correct or not: ●
Is the solution correct or not:¶¶●
It isn't wrong anywhere. Thus ●.
There is not a single mistake, so it is ●.
Without a doubt, the verdict is ●.
No step fails and the verdict is ●
It cannot be anything but ●.
按照要求输出：●
解答得出x=3，正确。●
因此，AI 的解答是 ●
该解答没有错误，所以答案是●
""".strip().split("\n")


@pytest.mark.parametrize("line", QUOTED)
@pytest.mark.parametrize("before", ["", "Step 2 is wrong, so the solution is incorrect. "], ids=["alone", "after"])
def test_a_box_that_is_somebody_s_or_denied_is_no_verdict(line: str, before: str) -> None:
    reply = before + line.replace("¶", "\n").replace("●", BOX)
    assert parse_verdict(reply) == Verdict(None, Reason.QUOTED)


@pytest.mark.parametrize("line", HONEST)
@pytest.mark.parametrize("before", ["", "Each step holds.\n"], ids=["alone", "after"])
def test_a_box_that_is_the_judge_s_own_is_its_verdict(line: str, before: str) -> None:
    reply = before + line.replace("¶", "\n").replace("●", BOX)
    assert parse_verdict(reply) == Verdict(True, Reason.OK)
