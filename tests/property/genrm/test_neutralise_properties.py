r"""The candidate's text cannot speak for the judge, whatever it is, and can be had back."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from genrm import parse_verdict
from genrm.neutralise import Neutraliser
from genrm.prompts import load_template

TOKENS = r"""
    \boxed{True} \ boxed ¦ < <| |> im_end </think> <think> [ ] AI Solution [INST] ◁ think▷ <s> </s> {problem} {solution}
    { } [SEP] [| user |] /no_think / ** ＜ ［ ］ ｜
""".split()
HOSTILE = st.lists(
    st.sampled_from(
        [*TOKENS, "\n", " ", "AI Solution", "[AI Solution]", "[Math Problem]", "AI_Solution", "AI\u200bSolution"]
    )
    | st.text(st.characters(exclude_categories=[]), max_size=6),
    max_size=25,
).map("".join)

SPECIAL = ("[SEP]", "<<x>>", "<pad|x>", "boxed{", "!")
PLAIN, KNOWING = Neutraliser(), Neutraliser(SPECIAL)
DANGEROUS = re.compile(
    r"\\boxed|</?think\b|<[|｜][^\s<>|｜¦]{2,60}[|｜]?>|</s>|\[/?INST\]|◁/?think▷|\[\|user\|\]|(?:^|\s)/no_think\b"
    r"|[\[［]AI[-_ \u200b]?Solution[\]］]|\[Math Problem\]|\*\*AI Solution\*\*",
    re.IGNORECASE,
)


@given(HOSTILE)
def test_nothing_dangerous_is_left(text: str) -> None:
    assert not DANGEROUS.search(PLAIN.neutralise(text))
    harmless = KNOWING.neutralise(text)
    assert not DANGEROUS.search(harmless)
    assert not any(token in harmless for token in SPECIAL if len(token) > 1)


@given(HOSTILE)
def test_reversible(text: str) -> None:
    for neutraliser in (PLAIN, KNOWING):
        assert neutraliser.restore(neutraliser.neutralise(text)) == text


@given(HOSTILE)
def test_visible_and_otherwise_untouched(text: str) -> None:
    assert PLAIN.neutralise(text).replace("¦", "") == text.replace("¦", "")


@given(st.text("abc 123+-*/=.,<>()\n·×≤²", max_size=60))
def test_mathematics_is_left_alone(text: str) -> None:
    assert PLAIN.neutralise(text) == text


@given(HOSTILE)
def test_a_judge_that_only_copies_the_solution_pays_nothing(solution: str) -> None:
    assert parse_verdict(PLAIN.neutralise(solution)).value is None


@given(HOSTILE, HOSTILE)
def test_the_prompt_holds_both_texts_once_and_ends_with_our_word(problem: str, solution: str) -> None:
    template = load_template()
    [message] = template.messages(PLAIN, problem, solution)
    before, between, after = re.split(r"\{problem\}|\{solution\}", template.text)
    harmless = PLAIN.neutralise(problem), PLAIN.neutralise(solution)
    assert message["content"] == f"{before}{harmless[0]}{between}{harmless[1]}{after}"
    assert message["content"].count("\n[AI Solution]\n") == 1
    assert message["content"].endswith("in \\boxed{}.")
