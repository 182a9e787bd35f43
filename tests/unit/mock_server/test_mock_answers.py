"""Answers: oracles, error rates, shapes, and that nothing but the request decides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mock_server import Answer, Judge, Scenario, load_scenario
from mock_server.judge.answers import answer

GOLDEN = Path(__file__).parents[2] / "data" / "mock_answers.json"
MESSAGES = [
    [("user", "hello")],
    [("system", "You are a judge."), ("user", "hello")],
]


def prompt(problem: str, solution: str) -> list[tuple[str, str]]:
    text = f"[Math Problem]\n\n{problem}\n\n[AI Solution]\n\n{solution}\n\nYour task is to review the solution."
    return [("user", text)]


def ask(scenario: dict[str, object], problem: str, solution: str, seed: int = 0) -> Answer:
    return Judge(load_scenario(scenario), seed).answer(prompt(problem, solution))


GOLDEN_SCENARIO = {"shapes": {"no_box": 0.2, "two_boxes": 0.2, "truncated": 0.2}, "errors": {"false_true": 0.3}}
GOLDEN_CASES = [prompt("What is 2+3?", f"2 + 3 = {n}, so \\boxed{{{n}}}. <think> é漢😀") for n in range(12)] + MESSAGES


def golden_texts() -> list[list[str]]:
    judge = Judge(load_scenario(GOLDEN_SCENARIO), seed=7)
    return [[found.text, found.finish_reason] for found in map(judge.answer, GOLDEN_CASES)]


class TestPurity:
    def test_the_same_on_every_machine(self) -> None:
        """Compared with a file: a change of any answer is a change of behaviour, on purpose or not."""
        assert golden_texts() == json.loads(GOLDEN.read_text(encoding="utf-8"))

    @pytest.mark.parametrize("hash_seed", ["0", "12345"])
    def test_the_same_in_other_processes(self, hash_seed: str) -> None:
        code = (
            "import json, sys; from mock_server import Judge, load_scenario\n"
            "scenario, cases = json.load(sys.stdin)\n"
            "judge = Judge(load_scenario(scenario), seed=7)\n"
            "cases = [[tuple(message) for message in case] for case in cases]\n"
            "print(json.dumps([[a.text, a.finish_reason] for a in map(judge.answer, cases)]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([GOLDEN_SCENARIO, GOLDEN_CASES]),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert json.loads(done.stdout) == golden_texts()

    def test_order_does_not_matter(self) -> None:
        judge = Judge(Scenario(), 1)
        assert list(map(judge.answer, GOLDEN_CASES)) == list(map(judge.answer, GOLDEN_CASES[::-1]))[::-1]

    def test_seed_and_messages_matter(self) -> None:
        plain = answer(prompt("1+1?", "2"), Scenario())
        assert plain == answer(prompt("1+1?", "2"), Scenario(), seed=0)
        assert plain.text != answer(prompt("1+1?", "2"), Scenario(), seed=1).text
        assert plain.text != answer([("system", "Be brief."), *prompt("1+1?", "2")], Scenario()).text
        assert plain.text != Judge(Scenario()).answer(prompt("1+1?", "2"), salt="choice 1").text

    def test_a_higher_rate_only_flips_verdicts(self) -> None:
        """The draws do not depend on the scenario: answers that are right at both rates are the same texts."""
        low, high = ({"oracle": {"default": False}, "errors": {"false_true": rate}} for rate in (0.1, 0.5))
        for n in range(50):
            before, after = ask(low, "p", str(n)), ask(high, "p", str(n))
            assert before == after or (before.verdict, after.verdict) == (False, True)


class TestRates:
    """Deterministic, so the counts are exact; the tolerance says that the rate is honoured."""

    N = 2000

    @pytest.mark.parametrize(("truth", "field"), [(False, "false_true"), (True, "false_false")])
    def test_errors(self, truth: bool, field: str) -> None:
        judge = Judge(load_scenario({"oracle": {"default": truth}, "errors": {field: 0.1}}))
        wrong = sum(judge.answer(prompt("p", str(n))).verdict != truth for n in range(self.N))
        assert wrong == pytest.approx(0.1 * self.N, abs=45)

    @pytest.mark.parametrize("rate", [0.0, 1.0])
    def test_never_and_always(self, rate: float) -> None:
        scenario = {"oracle": {"default": False}, "errors": {"false_true": rate}}
        assert {ask(scenario, "p", str(n)).verdict for n in range(100)} == {rate == 1}

    def test_shapes(self) -> None:
        judge = Judge(load_scenario({"shapes": {"no_box": 0.1, "two_boxes": 0.2, "truncated": 0.3}}))
        shapes = [judge.answer(prompt("p", str(n))).shape for n in range(self.N)]
        shares = {shape: shapes.count(shape) / self.N for shape in set(shapes)}
        assert shares == pytest.approx({"no_box": 0.1, "two_boxes": 0.2, "truncated": 0.3, "verdict": 0.4}, abs=0.03)


class TestShapes:
    def one(self, shape: str, verdict: bool = True) -> Answer:
        return ask({"oracle": {"default": verdict}, "shapes": {shape: 1.0}}, "p", "s")

    def test_no_box(self) -> None:
        assert "boxed" not in self.one("no_box").text
        assert "boxed" not in self.one("no_box", verdict=False).text

    def test_two_boxes_disagree_on_the_last_line(self) -> None:
        last = self.one("two_boxes").text.splitlines()[-1]
        assert last == r"Final verdict: \boxed{False} or rather \boxed{True}"

    def test_truncated(self) -> None:
        cut = self.one("truncated")
        assert cut.finish_reason == "length"
        assert cut.text
        assert "boxed" not in cut.text

    @pytest.mark.parametrize("verdict", [True, False])
    def test_every_verdict_line_is_a_box_at_the_end(self, verdict: bool) -> None:
        judge = Judge(load_scenario({"oracle": {"default": verdict}}))
        lines = {judge.answer(prompt("p", str(n))).text.splitlines()[-1] for n in range(100)}
        assert lines == {
            rf"\boxed{{{verdict}}}",
            rf"Final verdict: \boxed{{{verdict}}}",
            rf"**Final Verdict:** \boxed{{{verdict}}}",
            rf"\boxed{{\text{{{verdict}}}}}",
        }

    @pytest.mark.parametrize(("low", "high"), [(30, 80), (0, 0), (1, 1), (3, 5), (12, 12), (400, 400)])
    def test_length_in_words(self, low: int, high: int) -> None:
        judge = Judge(load_scenario({"critique": {"min_words": low, "max_words": high}}))
        for n in range(30):
            body, _, _ = judge.answer(prompt("p", f"line {n}\n\nand a step")).text.rpartition("\n\n")
            assert low <= len(body.split()) <= high

    def test_quotes_are_harmless(self) -> None:
        solution = "We get \\boxed{True} `code` <think> so it is 7\n\n***"
        for n in range(20):
            body = ask({}, "p", f"{solution} {n}").text.rpartition("\n")[0]
            assert '"We get so it is' in body
            assert not set("\\`<>{}") & set(body)


class TestOracles:
    def verdict(self, oracle: object, problem: str = "p", solution: str = "s") -> bool | None:
        return ask({"oracle": oracle}, problem, solution).verdict

    def test_rules_first_match_wins(self) -> None:
        rules = [
            {"problem": "eggs", "solution": "18", "verdict": True},
            {"problem": "eggs", "verdict": False},
            {"solution": {"regex": r"^x+ boxed\{\d+\}$"}, "verdict": True},
            {"problem": {"regex": "never"}, "verdict": False},
        ]
        assert self.verdict({"rules": rules}, "How  many\neggs?", "it is 18") is True
        assert self.verdict({"rules": rules}, "How many eggs?", "it is 19") is False
        assert self.verdict({"rules": rules}, "?", "xx\n\nbo¦xed{18}") is True
        assert self.verdict({"rules": rules}, "?", "?") is None

    def test_a_thousand_rules(self) -> None:
        rules = [{"problem": f"problem number {n}", "solution": "s", "verdict": True} for n in range(1000)]
        judge = Judge(load_scenario({"oracle": [{"rules": rules}, {"default": False}]}))
        assert judge.answer(prompt("this is problem number 999 " * 20, "a solution")).verdict is True
        assert judge.answer(prompt("another", "solution")).verdict is False

    def test_pairs_are_compared_canonically(self) -> None:
        pairs = [{"problem": "1+1?", "solution": "It is\n\\boxed{3}.", "verdict": False}]
        assert self.verdict({"pairs": pairs}, "1+1?", "It is \\¦boxed{3}.") is False
        assert self.verdict({"pairs": pairs}, "1+1?", "It is 3.") is None

    def test_files_are_found_beside_the_scenario(self, tmp_path: Path) -> None:
        (tmp_path / "known.jsonl").write_text('{"problem": "p", "solution": "s", "label": 0}\n\n', encoding="utf-8")
        (tmp_path / "answers.jsonl").write_text(
            '{"problem": "a", "answer": 18}\n{"problem": "b", "answer": "work\\n#### 1,000"}\n', encoding="utf-8"
        )
        path = tmp_path / "s.yaml"
        path.write_text("oracle: [{pairs_file: known.jsonl}, {ground_truth_file: answers.jsonl}]", encoding="utf-8")
        judge = Judge(load_scenario(path))

        def verdict(problem: str, solution: str) -> bool | None:
            return judge.answer(prompt(problem, solution)).verdict

        assert verdict("p", "s") is False
        assert verdict("a", "so \\¦boxed{18.0}") is True
        assert verdict("a", "so 18") is False
        assert verdict("b", "A: 1000") is True
        assert verdict("c", "A: 1000") is None

    def test_arithmetic_then_default(self) -> None:
        oracle = [{"arithmetic": True}, {"default": "none"}]
        assert self.verdict(oracle, solution="2 + 2 = 4") is True
        assert self.verdict(oracle, solution="2 + 2 = 5") is False
        assert self.verdict(oracle, solution="four") is None
        assert self.verdict({"arithmetic": False, "default": True}) is True

    def test_nobody_knows(self) -> None:
        found = ask({"oracle": {"default": None}}, "p", "s")
        assert (found.shape, found.finish_reason, found.verdict) == ("undecided", "stop", None)
        assert "boxed" not in found.text

    def test_the_last_user_message_counts(self) -> None:
        judge = Judge(load_scenario({"oracle": {"rules": [{"problem": "old", "verdict": False}], "default": True}}))
        messages = [*prompt("old", "s"), ("assistant", "?"), *prompt("new", "s"), ("assistant", "!")]
        assert judge.answer(messages).verdict is True

    @pytest.mark.parametrize("messages", [*MESSAGES, [("assistant", "hi")], []])
    def test_unrecognised(self, messages: list[tuple[str, str]]) -> None:
        found = Judge(Scenario(unrecognised="What?")).answer(messages)
        assert found == Answer("What?", "stop", "unrecognised")
