"""The judge: reads the prompt that genrm sends, writes a critique of one line and a verdict in a box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from genrm.verdicts import parse_verdict
from tiny import domain, models
from tiny.domain import Case
from tiny.models import Lesson, Progress
from tiny.tokens import chat, judge_messages, tokenizer

STEPS = 1200
REPLY_TOKENS = 32
"""More than any reply that it was taught."""
ENOUGH = 0.98
"""Share of the held-out cases that a judge must get right to be used."""
_LESSONS = 25_000
_RATE = 2e-3


@dataclass(frozen=True, slots=True)
class Grade:
    """How a judge did on cases whose truth is known."""

    cases: int
    right: int
    unread: int
    """Replies that hold no verdict."""

    @property
    def accuracy(self) -> float:
        """Share of verdicts that are the truth; no verdict is none."""
        return self.right / self.cases

    def in_words(self, what: str) -> str:
        """Such as "319 of 320 held-out cases right (99.7%), 0 unread"."""
        return f"{self.right} of {self.cases} {what} right ({self.accuracy:.1%}), {self.unread} unread"


def train(folder: Path, *, seed: int, steps: int, shuffled: bool, progress: Progress) -> None:
    """Train a judge and save it.

    Args:
        shuffled: teach the replies to other cases' prompts: it writes verdicts in good form that mean nothing. A run
            judged by it must not learn.
    """
    tokens = tokenizer()
    model = models.new_model(tokens, seed)
    models.train(model, tokens, lessons(tokens, seed, shuffled), steps=steps, rate=_RATE, seed=seed, progress=progress)
    models.save(model, tokens, folder)


def lessons(tokens: Any, seed: int, shuffled: bool) -> list[Lesson]:
    """What it learns from; nothing of it is held out."""
    random = Random(seed)
    cases = list(islice(domain.training_cases(random), _LESSONS))
    replies = [case.reply for case in cases]
    if shuffled:
        random.shuffle(replies)
    return [Lesson(prompt(tokens, case), reply) for case, reply in zip(cases, replies, strict=True)]


def prompt(tokens: Any, case: Case) -> str:
    """What it reads when genrm asks about a case."""
    return chat(tokens, judge_messages(case.problem.text, case.solution))


def grade(folder: Path, cases: Sequence[Case]) -> Grade:
    """Ask the judge in a folder, greedily, and read its replies as genrm does."""
    model, tokens = models.load(folder)
    replies = models.write(model, tokens, [prompt(tokens, case) for case in cases], REPLY_TOKENS)
    verdicts = [parse_verdict(reply).value for reply in replies]
    outcome = Counter(
        "unread" if verdict is None else "right" if verdict is case.is_right else "wrong"
        for verdict, case in zip(verdicts, cases, strict=True)
    )
    return Grade(len(cases), outcome["right"], outcome["unread"])
