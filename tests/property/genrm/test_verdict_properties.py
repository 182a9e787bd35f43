r"""What holds for every reply."""

from __future__ import annotations

import string

from hypothesis import example, given
from hypothesis import strategies as st

from genrm import Reason, parse_verdict

ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates, too
# Made of what the parser looks for, so that it gets deep into the rules.
TOKENS = r"""
    \boxed{ \boxed True False } { \text{ $ \( \) ** ` ``` " ' . : > “ ” ¦ </answer> <think> </think> [THINK]
    <|im_end|> <|channel|> final <|message|>
""".split()
PIECES = st.lists(
    st.sampled_from([*TOKENS, "\n", " ", "[AI Solution]\n", "the student wrote", "Final answer"])
    | st.text(string.ascii_letters + " .:", max_size=8),
    max_size=30,
).map("".join)
WORDS = st.sampled_from(["True", "False"])
# Prose that says nothing of a box, quotes nothing and introduces nobody else's words.
PROSE = st.lists(
    st.sampled_from(["Step one holds.", "The sum is 12.", "2 + 2 = 5 is wrong.", "\n", " "]), max_size=6
).map("".join)


@given(ANY_TEXT | PIECES, st.none() | st.sampled_from(["stop", "length", "abort"]) | ANY_TEXT)
@example("{" * 10_000, "stop")
def test_total(reply: str, finish_reason: str | None) -> None:
    verdict = parse_verdict(reply, finish_reason)
    assert verdict.value in (True, False, None)
    assert (verdict.value is None) != (verdict.reason is Reason.OK)


@given(PIECES, st.text(min_size=1).filter(lambda reason: reason != "stop"))
def test_only_a_finished_reply_gives_a_verdict(reply: str, finish_reason: str) -> None:
    assert parse_verdict(reply + "\\boxed{True}", finish_reason).value is None


@given(PIECES, WORDS, st.text(string.ascii_letters + "?,;", min_size=1))
def test_a_box_anywhere_but_last_never_pays(before: str, word: str, after: str) -> None:
    assert parse_verdict(f"{before}\\boxed{{{word}}}\n{after}").value is None


@given(PIECES | ANY_TEXT)
def test_without_a_box_nothing_pays(text: str) -> None:
    assert parse_verdict(text.replace("boxed", "bóxed")).value is None


@given(PIECES, st.text(st.characters(exclude_characters="{}\\"), max_size=12))
def test_off_vocabulary_is_never_guessed(before: str, content: str) -> None:
    word = content.strip(" \t\n\r.*_$`'\"~。．\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0").strip()
    if word.lower() not in ("true", "false"):
        assert parse_verdict(f"{before}\n\\boxed{{{content}}}").value is None


MACROS = [("\\text{", "}"), ("\\textbf{", "}"), ("\\mathrm{", "}"), ("\\boxed{", "}"), ("{", "}")]
MARKS = [("$", "$"), ("\\(", "\\)"), ("**", "**"), ('"', '"'), ("'", "'"), (" ", " "), ("\n", "\n")]
WRAPPERS = st.lists(st.sampled_from([*MACROS, *MARKS]), max_size=4)


@given(
    PROSE, WORDS, WRAPPERS, st.sampled_from([str.lower, str.upper, str.title, str.swapcase]), st.sampled_from(["", "."])
)
def test_wrapping_and_case_do_not_matter(
    prose: str, word: str, wrappers: list[tuple[str, str]], case: object, stop: str
) -> None:
    content = case(word) + stop  # type: ignore[operator]
    for opening, closing in wrappers:
        content = f"{opening}{content}{closing}"
    verdict = parse_verdict(f"{prose}\n\nVerdict: \\boxed{{{content}}}")
    assert verdict.value is (word == "True")


@given(PIECES, WORDS)
def test_thinking_never_decides(thinking: str, word: str) -> None:
    thinking = thinking.replace("</think>", "")
    assert parse_verdict(f"<think>{thinking}\\boxed{{{word}}}</think>").value is None
    assert parse_verdict(f"<think>{thinking}\\boxed{{{word}}}").value is None


@given(PROSE, WORDS, WORDS)
def test_an_open_conflict_is_no_verdict(prose: str, first: str, second: str) -> None:
    verdict = parse_verdict(f"{prose} If so \\boxed{{{first}}}, otherwise \\boxed{{{second}}}.")
    assert verdict.value is ((second == "True") if first == second else None)


@given(PIECES, WORDS)
def test_a_quotation_never_pays(text: str, word: str) -> None:
    # A closing thinking tag in a quotation ends the thinking: keeping it out of the prompt is the neutraliser's job.
    quote = text.replace("\n", " ").replace('"', "").replace("think", "")
    assert parse_verdict(f'It ends: "{quote} \\boxed{{{word}}}"').value is None
    assert parse_verdict(f"> {quote} \\boxed{{{word}}}").value is None
