"""The judges of a run: the mock, which knows the domain by heart, or a trained one behind a real server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console

from judges.launch import launched
from judges.options import SERVED_NAME, Options
from mock_server import MockServer
from rl.audit import Asked
from rl.runs import RunError
from tiny import domain

_COUNTER = re.compile(r"^(?:vllm:request_success_total|judge:requests_total)(?:\{[^}]*\})? ([\d.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunningJudge:
    """A judge that is up.

    Attributes:
        ended: how it ended by itself; None while it runs.
        faulty: how many of its replies a fault has befallen; of those that it remembers.
    """

    url: str
    ended: Callable[[], str | None] = lambda: None
    faulty: Callable[[], int] = lambda: 0

    def must_live(self) -> None:
        """Raise RunError where it has ended."""
        if how := self.ended():
            raise RunError(f"the judge {how} meanwhile")

    def asked(self) -> int:
        """How many completions it has given since it was started, by its own count."""
        # By its metrics also where it is the mock, whose journal keeps the latest 10,000.
        return counted(httpx.get(f"{self.url}/metrics", trust_env=False, timeout=60).text)

    @property
    def settings(self) -> dict[str, str]:
        """What tells genrm of it."""
        return {"GENRM_BASE_URL": self.url, "GENRM_MODEL_NAME": SERVED_NAME, "GENRM_MAX_TOKENS": "512"}


def scenario(no_verdicts: float = 0.0) -> dict[str, Any]:
    """The mock's script: right is what the rule says is right. `no_verdicts`: the share of calls cut off too early."""
    right = [
        {"problem": problem.text, "solution": problem.solution(problem.answer, form), "verdict": True}
        for problem in domain.problems()
        for form in domain.FORMS
    ]
    fault = {"when": {"share": no_verdicts}, "fault": {"finish_reason": {"reason": "length", "keep": 0.3}}}
    return {
        "oracle": [{"pairs": right}, {"default": False}],
        "critique": {"min_words": 3, "max_words": 8},
        "faults": [fault] if no_verdicts else [],
    }


@contextmanager
def mock(no_verdicts: float = 0.0) -> Iterator[RunningJudge]:
    """The mock, in a thread."""
    with MockServer(scenario=scenario(no_verdicts)) as server:
        yield RunningJudge(server.base_url, faulty=lambda: sum(bool(exchange.faults) for exchange in server.requests))


@contextmanager
def real(options: Options, console: Console) -> Iterator[RunningJudge]:
    """A model behind vLLM or Hugging Face generate, which takes up to a minute to start."""
    with launched(options, console) as server:
        yield RunningJudge(server.url, server.host.ended)


def counted(text: str) -> int:
    """How many completions a server's /metrics says it has given."""
    return round(sum(float(count) for count in _COUNTER.findall(text)))


def ask_again(judge: RunningJudge, questions: Iterable[Asked]) -> dict[Asked, float]:
    """What the judge says of each: 1.0 right, 0.0 wrong, -1.0 no verdict. By genrm, as in the run."""
    from genrm.reward_function import compute_score_batch  # reads the environment

    asked = list(questions)
    records = compute_score_batch(
        ["tiny/sums"] * len(asked),
        [solution for _, solution in asked],
        [""] * len(asked),
        [{"question": problem, "split": "train"} for problem, _ in asked],
        **{name.removeprefix("GENRM_"): value for name, value in judge.settings.items()},
    )
    return {question: float(record["genrm_verdict"]) for question, record in zip(asked, records, strict=True)}
