r"""Boxes that disagree: ○ is \boxed{False}, ● is \boxed{True}."""

from __future__ import annotations

import pytest

from genrm import Reason, parse_verdict

NOT_THE_VERDICT = """
Final verdict: ○¶¶Correct answer: ●
Verdict: ○¶¶The correct answer is ●.
○¶¶The correct conclusion is ●
○¶¶Corrected answer: ●
○¶¶not¶¶●
○, not¶●
○¶rather than¶●
○¶instead of:¶●
○¶¶The reference answer:¶¶●
○¶¶Expected answer:¶●
○¶¶The answer given was:¶¶●
○¶¶Its final answer:¶¶●
○¶¶The AI's answer was:¶●
The right answer is ○. The solution got¶●
""".strip().split("\n")

OPTIONS = """
Options:¶¶○¶¶●
○,¶●
○/¶●
1. ○¶2. ●
a) ○¶b) ●
• ○¶• ●
○¶versus¶●
○¶和¶●
○或是¶●
$$○$$¶¶$$●$$
It asks for ○ or ●
The solution gives ○ ●
""".strip().split("\n")

TURNS = """
○¶¶Human: The following is a math problem and an AI solution:¶¶x¶¶Assistant: The steps are right.¶¶●
○¶¶The following is a math problem and an AI solution:¶¶x¶¶●
○¶¶user¶Are you sure?¶assistant¶●
○¶¶User: sure?¶¶Assistant:¶●
○¶### Human: sure?¶### Assistant:¶●
""".strip().split("\n")

THE_LAST_WINS = """
Step 1: ○¶Step 2: ○¶¶●
Step 1: ○¶Final Verdict – ●
Step 1: ○¶¶Final Answer: The final answer is ●
Step 1: ○¶¶Final answer: **the verdict is** ●
○¶Corrected verdict: ●
○¶¶The correct final verdict is ●
○¶¶(Final verdict: ●)
○¶¶2. Final verdict: ●
The solution's answer ○ is wrong.¶¶The final verdict is: ●
The candidate answered ○. I have another one, which is ●
Assistant: It is ○.¶¶Wait: step 2 holds.¶¶Final verdict: ●
The user asked: is it ○?¶¶Final verdict: ●
""".strip().split("\n")


def _reply(line: str) -> str:
    return line.replace("¶", "\n").replace("○", r"\boxed{False}").replace("●", r"\boxed{True}")


@pytest.mark.parametrize("line", NOT_THE_VERDICT)
def test_what_is_no_verdict_overturns_none(line: str) -> None:
    assert parse_verdict(_reply(line)).reason in (Reason.CONFLICT, Reason.QUOTED)


@pytest.mark.parametrize("line", OPTIONS)
def test_a_list_of_options_is_no_verdict(line: str) -> None:
    assert parse_verdict(_reply(line)).reason is Reason.CONFLICT


@pytest.mark.parametrize("line", TURNS)
def test_invented_turns_without_tokens_are_no_verdict(line: str) -> None:
    assert parse_verdict(_reply(line)).reason is Reason.PROMPT_ECHO


@pytest.mark.parametrize("line", THE_LAST_WINS)
def test_the_last_wins_where_it_is_set_apart(line: str) -> None:
    assert parse_verdict(_reply(line)).value is True
