"""The policy: answers the problems, right about three times in ten, so that there is something to be rewarded for.

It first learns the answers and is then blurred by wrong ones: GRPO finds again what is there, rather than teach from
nothing, which would take longer than anybody waits.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from tiny import domain, models
from tiny.domain import Problem
from tiny.models import Lesson, Progress
from tiny.tokens import chat, tokenizer

CLEAN_STEPS = 250
BLUR_STEPS = 100
ANSWER_TOKENS = 10
"""Room for "The answer is 18." and some way to go wrong."""
_RIGHT_SHARE = 0.42
_LESSONS = 4_000
_CLEAN_RATE = 2e-3
_BLUR_RATE = 3e-4


def train(folder: Path, *, seed: int, progress: Progress) -> None:
    """Train a policy and save it."""
    random = Random(seed)
    tokens = tokenizer()
    model = models.new_model(tokens, seed)
    clean = [_lesson(tokens, problem, problem.answer) for problem in random.choices(domain.problems(), k=_LESSONS)]
    blurred = [_lesson(tokens, *_blurred(random)) for _ in range(_LESSONS)]
    models.train(model, tokens, clean, steps=CLEAN_STEPS, rate=_CLEAN_RATE, seed=seed, progress=progress, decay=False)
    models.train(
        model,
        tokens,
        blurred,
        steps=BLUR_STEPS,
        rate=_BLUR_RATE,
        seed=seed,
        progress=lambda step, loss: progress(CLEAN_STEPS + step, loss),
        decay=False,
    )
    models.save(model, tokens, folder)


def mean_reward(folder: Path, times: int = 4) -> float:
    """The rule's mean score of what the policy in a folder writes at temperature 1, each problem asked so often."""
    model, tokens = models.load(folder)
    asked = domain.problems() * times
    answers = models.write(model, tokens, [_prompt(tokens, p) for p in asked], ANSWER_TOKENS, temperature=1.0)
    return sum(domain.rule_score(p, answer) for p, answer in zip(asked, answers, strict=True)) / len(asked)


def _blurred(random: Random) -> tuple[Problem, int]:
    problem = random.choice(domain.problems())
    if random.random() < _RIGHT_SHARE:
        return problem, problem.answer
    return problem, random.choice([number for number in domain.NUMBERS if number != problem.answer])


def _lesson(tokens: Any, problem: Problem, number: int) -> Lesson:
    return Lesson(_prompt(tokens, problem), problem.solution(number))


def _prompt(tokens: Any, problem: Problem) -> str:
    return chat(tokens, [{"role": "user", "content": problem.text}])
