"""Answers are total and pure, whatever the messages hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mock_server import Judge, load_scenario
from mock_server.engine.machine import Choice, Plan
from mock_server.judge.answers import answer
from mock_server.judge.arithmetic import check
from mock_server.judge.final_answers import final_answer
from mock_server.prompts import PromptFormat, canonical, recognise
from mock_server.tokens import count_tokens, decode

ANY_TEXT = st.text(st.characters(), max_size=200)  # surrogates too
PIECES = st.sampled_from(
    ["[Math Problem]\n", "\n[AI Solution]\n", "\nYour task is", "\n", "2+2=4", "\\boxed{", "¦", "}"]
)
PROMPTISH = st.lists(PIECES | ANY_TEXT, max_size=12).map("".join)
JUDGED = st.builds(
    lambda problem, solution: f"[Math Problem]\n{problem}\n[AI Solution]\n{solution}\nYour task is x",
    ANY_TEXT,
    ANY_TEXT,
)
MESSAGES = st.lists(st.tuples(st.sampled_from(["user", "system", "x\ud800"]), PROMPTISH | JUDGED), max_size=4)
SCENARIO = load_scenario(
    {"shapes": {"no_box": 0.2, "two_boxes": 0.2, "truncated": 0.2}, "errors": {"false_true": 0.3, "false_false": 0.3}}
)
JUDGE = Judge(SCENARIO, seed=3)


@given(MESSAGES, st.text(max_size=3))
def test_total_and_pure(messages: list[tuple[str, str]], salt: str) -> None:
    found = JUDGE.answer(messages, salt)
    assert found == JUDGE.answer(list(messages), salt)
    found.text.encode()  # an answer is always sendable
    boxes = found.text.count("\\boxed{")
    assert boxes == {"verdict": 1, "two_boxes": 2}.get(found.shape, 0)
    if not salt:
        assert found == answer(messages, SCENARIO, seed=3)


@given(JUDGED)
def test_the_scenario_only_sets_thresholds(text: str) -> None:
    plain = Judge(load_scenario({}), seed=3).answer([("user", text)])
    erring = JUDGE.answer([("user", text)])
    assert plain.truth == erring.truth
    if erring.shape == "verdict" and erring.verdict == plain.verdict:
        assert erring == plain


@given(PROMPTISH)
def test_recognition_is_total_and_loses_nothing(text: str) -> None:
    found = recognise(text, PromptFormat())
    if found:
        assert found.problem in text.replace("¦", "")
        assert found.solution in text.replace("¦", "")


@given(ANY_TEXT)
def test_canonical_is_stable(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@given(st.text("0123456789+-*/=x. ,$%()\n", max_size=100) | ANY_TEXT)
def test_arithmetic_and_final_answers_are_total(text: str) -> None:
    assert check(text) in (True, False, None)
    assert isinstance(final_answer(text), str | None)


@given(st.integers(-999, 999), st.integers(-999, 999))
def test_arithmetic_knows_sums(a: int, b: int) -> None:
    if a >= 0 and b >= 0:
        assert check(f"so {a} + {b} = {a + b}.") is True
        assert check(f"so {a} * {b} = {a * b + 1}.") is False


@given(st.text(max_size=50))
def test_tokens_are_bytes(text: str) -> None:
    if "<|" not in text:
        assert count_tokens(text) == len(text.encode())


@given(st.lists(st.integers(-5, 300)))
def test_decode_is_total(ids: list[int]) -> None:
    assert isinstance(decode(ids), str)


@given(st.text(max_size=30))
def test_every_cut_is_a_prefix(text: str) -> None:
    data = text.encode()
    for tokens in range(len(data) + 1):
        choice = Choice(Plan(data, len(data) + 1, "stop"))
        choice.advance(tokens)
        assert text.startswith(choice.text)
