r"""What the neutraliser takes for a construct, and what for mathematics."""

from __future__ import annotations

import pytest

from genrm.neutralise import Neutraliser

PLAIN = Neutraliser()

CONSTRUCTS = r"""
\boxed{1}
</think>
<|im_end|>
<｜end▁of▁sentence｜>
＜|im_end|＞
<|turn>
<turn|>
<end_of_turn>
</s>
<s>
<EOS_TOKEN>
<BOS_TOKEN>
<reserved_106>
<SPECIAL_12>
<seed:eos>
[EOS]
[EOT]
[INST]
[gMASK]
[|user|]
[|assistant|]
[|system|]
[|endofturn|]
[e~[
]~b]
]~!b[
/no_think
/think
[AI Solution]
[AI-Solution]
[ai_solution]
[ AI  Solution ]
**AI Solution**
** Math Problem: **
## Reference Answer
［AI Solution］
［ＡＩ Ｓｏｌｕｔｉｏｎ］
【AI Solution】
""".strip().split("\n")


@pytest.mark.parametrize("construct", [*CONSTRUCTS, "[AI\u200bSolution]", "[\u2060AI Solution]", "[AI\u00a0Solution]"])
@pytest.mark.parametrize("around", [("", ""), ("So x = 3.\n", "\n"), ("因此\n", " 。")], ids=["", "lines", "not ASCII"])
def test_a_mark_breaks_each_construct_up(construct: str, around: tuple[str, str]) -> None:
    before, after = around
    text = before + construct + after
    harmless = PLAIN.neutralise(text)
    assert harmless == f"{before}{construct[0]}¦{construct[1:]}{after}"
    assert PLAIN.restore(harmless) == text


@pytest.mark.parametrize(
    "text",
    [
        r"Let $0<|x-3|<\delta$. Then |f(x)|<|g(x)|.",
        "|a|<|b|",
        "|a|<|b|>0",
        "0 < |x| ≤ 2, so |x|<｜y",
        "G=<s> and H = <s>",
        "a<b|c>d",
        "⟨ψ|φ⟩ and <x|y>",
        "https://example.org/think and a/no_think",
        "/thinking",
        "the AI solution, a math problem",
        "x[e] ~ [0, 1]",
        "[user] [a|b]",
    ],
)
def test_mathematics_and_prose_are_left_alone(text: str) -> None:
    assert PLAIN.neutralise(text) == text


def test_what_looks_like_mathematics_is_broken_up_where_it_is_the_judge_s_own_token() -> None:
    knowing = Neutraliser(["<s>", "|x|", "＜eos＞"])
    assert knowing.neutralise("G=<s>, |x|, ＜eos＞") == "G=<¦s>, |¦x|, ＜¦eos＞"
