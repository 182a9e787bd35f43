"""What the judge says: a pure function of (messages, scenario, seed).

The draws behind an answer depend on the seed and the messages alone, and the scenario only sets thresholds: raising an
error rate from 5 % to 10 % flips some verdicts and leaves every other answer as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mock_server.judge import critiques, oracles
from mock_server.judge.draws import Draws
from mock_server.judge.matching import matcher
from mock_server.prompts import PromptFormat, recognise
from mock_server.scenario.files import ScenarioError, read_jsonl
from mock_server.scenario.script import OracleEntry, Scenario
from mock_server.tokens import Message

Shape = Literal["verdict", "no_box", "two_boxes", "truncated", "undecided", "unrecognised", "garbage"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and for those who test with it, how it came about."""

    text: str
    finish_reason: Literal["stop", "length"] = "stop"
    shape: Shape = "unrecognised"
    verdict: bool | None = None
    """What the critique argues for; only in the shape "verdict" is it also what the reply says."""
    truth: bool | None = None
    """What the oracle says about the solution."""


class Judge:
    """Answers by one scenario and one seed. Everything slow (files, patterns) is done when it is made.

    Raises ScenarioError when a data file of the scenario is wrong.
    """

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self.scenario = scenario
        self.seed = seed
        self._oracles = [_oracle(entry, scenario.prompt.mark) for entry in scenario.oracle]
        self._format = PromptFormat(**scenario.prompt.model_dump())

    def answer(self, messages: Sequence[Message], salt: str = "", turned: bool = False) -> Answer:
        """The reply to `messages` (role, content). `salt` tells choices and request seeds apart.

        With `turned` the salt also changes what is said to strangers: their reply begins at another word.
        """
        prompt = recognise(next((text for role, text in reversed(messages) if role == "user"), ""), self._format)
        if prompt is None:
            reply = self.scenario.unrecognised
            return Answer(_turned(reply, Draws(self.seed, messages, salt)) if turned else reply)
        truth = oracles.first_known(self._oracles, oracles.Case.of(prompt))
        draws = Draws(self.seed, messages, salt)
        if truth is None:
            return Answer("I cannot tell whether this solution is correct.", shape="undecided")
        errors = self.scenario.errors
        wrong = draws.uniform("verdict_error") < (errors.false_false if truth else errors.false_true)
        return self._reply(draws, prompt.solution, truth != wrong, truth)

    def garbage(self, messages: Sequence[Message], salt: str, room: int, bound: bool) -> Answer:
        """What weights that are none say to `messages`, up to `room` tokens of it.

        A grammar that the answer is `bound` to turns it into an answer in good form, with a verdict by chance.
        """
        draws = Draws(self.seed, messages, salt)
        truth = self.answer(messages, salt).truth
        said = self.scenario.garbage
        if bound:
            return Answer(said.text, "stop", "garbage", draws.uniform("garbage") < 0.5, truth)
        text = said.text
        if said.finish_reason == "length":
            text *= room // len(text.encode(errors="replace")) + 1
        return Answer(text, said.finish_reason, "garbage", truth=truth)

    def _reply(self, draws: Draws, solution: str, verdict: bool, truth: bool) -> Answer:
        words = self.scenario.critique
        body = critiques.critique(draws, solution, verdict, words.min_words, words.max_words)
        shape = self._shape(draws)
        if shape == "truncated":
            cut = int(len(body) * (0.3 + 0.6 * draws.uniform("cut")))
            return Answer(body[:cut], "length", shape, verdict, truth)
        if shape == "no_box":
            line = critiques.boxless_line(verdict)
        elif shape == "two_boxes":
            line = critiques.contradicting_line(verdict)
        else:
            line = critiques.verdict_line(draws, verdict)
        return Answer(f"{body}\n\n{line}" if body else line, "stop", shape, verdict, truth)

    def _shape(self, draws: Draws) -> Shape:
        shapes, draw = self.scenario.shapes, draws.uniform("shape")
        if draw < shapes.no_box:
            return "no_box"
        if draw < shapes.no_box + shapes.two_boxes:
            return "two_boxes"
        if draw < shapes.no_box + shapes.two_boxes + shapes.truncated:
            return "truncated"
        return "verdict"


def answer(messages: Sequence[Message], scenario: Scenario, seed: int = 0) -> Answer:
    """The judge's reply to `messages`. For more than one answer by the same scenario make a Judge once."""
    return Judge(scenario, seed).answer(messages)


def _turned(text: str, draws: Draws) -> str:
    words = text.split()
    start = draws.integer("turn", 0, len(words) - 1) if words else 0
    return " ".join([*words[start:], *words[:start]])


def _oracle(entry: OracleEntry, mark: str) -> oracles.Oracle:
    if entry.rules is not None:
        return oracles.by_rules((matcher(r.problem, mark), matcher(r.solution, mark), r.verdict) for r in entry.rules)
    if entry.pairs is not None:
        return oracles.by_pairs((p.problem, p.solution, p.verdict) for p in entry.pairs)
    if entry.pairs_file is not None:
        rows = read_jsonl(entry.pairs_file, {"problem": str, "solution": str, "label": (bool, int)})
        return oracles.by_pairs((row["problem"], row["solution"], bool(row["label"])) for row in rows)
    if entry.ground_truth_file is not None:
        rows = read_jsonl(entry.ground_truth_file, {"problem": str, "answer": (str, int, float)})
        return oracles.by_ground_truth((row["problem"], str(row["answer"])) for row in rows)
    if entry.arithmetic:
        return oracles.by_arithmetic()
    # `arithmetic: false` and `default: none` know nothing.
    return oracles.always(entry.default)


__all__ = ["Answer", "Judge", "ScenarioError", "Shape", "answer"]
