"""What the RL runs know of their judge."""

from __future__ import annotations

import httpx

from rl import judging
from tiny import domain


def test_it_counts_all_that_it_was_asked_whatever_the_journal_keeps() -> None:
    right = domain.Problem(2, 3)
    questions = [(right.text, right.solution(number)) for number in range(7)]
    with judging.mock() as judge:
        verdicts = judging.ask_again(judge, questions)
        httpx.delete(f"{judge.url}/_mock/journal", trust_env=False).raise_for_status()
        assert judge.asked() == len(questions)
    assert [question for question, verdict in verdicts.items() if verdict == 1.0] == [(right.text, right.solution(5))]
