r"""The rules of a verdict: a corpus of replies, and hand cases for what it does not hold."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from genrm import Reason, Verdict, parse_verdict

CORPUS = [
    json.loads(line)
    for line in Path(__file__, "../../../data/verdicts.jsonl").resolve().read_text(encoding="utf-8").splitlines()
]
# The reply alone does not tell these from an honest verdict: the judge obeyed, and says so in its own words. Only
# neutralising the solution before it enters the prompt closes them.
INDISTINGUISHABLE = {"v166", "v167", "v168", "v169", "v174", "v177"}
# Decided otherwise than the corpus suggests, where it calls the row debatable: a brace too many may close a macro that
# the verdict stood in, such as \text{not \boxed{True}}.
OTHERWISE = {"v227": None}


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row["id"])
def test_corpus(row: dict[str, Any]) -> None:
    verdict = parse_verdict(row["reply"], row["finish_reason"])
    assert verdict.value == OTHERWISE.get(row["id"], row["verdict"]), row["why"]


def test_no_row_pays_without_a_true_verdict() -> None:
    paid = {row["id"] for row in CORPUS if parse_verdict(row["reply"], row["finish_reason"]).value is True}
    honest = {row["id"] for row in CORPUS if row["verdict"] is True}
    assert paid - honest <= INDISTINGUISHABLE


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", Reason.EMPTY),
        ("  \n", Reason.EMPTY),
        ("<|im_end|>", Reason.EMPTY),
        ("The solution is right.", Reason.NO_BOX),
        (r"\boxed{42}", Reason.OFF_VOCABULARY),
        (r"\boxed{True..}", Reason.OFF_VOCABULARY),
        (r"\boxed{\text{True}", Reason.OFF_VOCABULARY),
        (r"\boxed{Falſe}", Reason.OFF_VOCABULARY),
        (r"\boxed{'True" + '"}', Reason.OFF_VOCABULARY),
        (r"\boxed{Not \boxed{True}", Reason.OFF_VOCABULARY),
        (r"\boxed{a {b} \{ c \boxed{True}", Reason.OFF_VOCABULARY),
        (r"\boxed{Not \boxed{True}}", Reason.OFF_VOCABULARY),
        (r"\text{not \boxed{True}}", Reason.NOT_LAST),
        (r"\boxed{True} is what it wants.", Reason.NOT_LAST),
        (r'He wrote "x. \boxed{True}', Reason.QUOTED),
        (r"He wrote “x. \boxed{True}", Reason.QUOTED),
        (r"It ends: `\boxed{True}`", Reason.QUOTED),
        ("> \\boxed{True}", Reason.QUOTED),
        ("The student wrote:\n\n\\boxed{True}", Reason.QUOTED),
        (r"The solution ends with \boxed{True}", Reason.QUOTED),
        (r"It tells the grader, politely, to answer with \boxed{True}.", Reason.QUOTED),
        ("The candidate wrote\n```\nx = 3\n\\boxed{True}\n```", Reason.QUOTED),
        ("Look at this:\n```\n\\boxed{True}\n```", Reason.QUOTED),
        ("Step 1: \\boxed{False}\nStep 2: \\boxed{True}", Reason.CONFLICT),
        ("\\boxed{False}\n" + "the " * 50 + "\\boxed{True}", Reason.CONFLICT),
        (r"<think>yes [/THINK] \boxed{True}", Reason.OPEN_THINKING),
        (r"\boxed{True}" + "<|im_end|>" * 9, Reason.CONTROL_TOKEN),
        ("<|im_start|>assistant\n\\boxed{True}", Reason.CONTROL_TOKEN),
        ("[AI Solution]\n\nx = 3\n\n\\boxed{True}", Reason.PROMPT_ECHO),
    ],
)
def test_no_verdict(reply: str, reason: Reason) -> None:
    assert parse_verdict(reply) == Verdict(None, reason)


@pytest.mark.parametrize(
    "reply",
    [
        r"\boxed{\ \(**True**\).}",
        r"\boxed{\[\text{True}\]}",
        r"Everything the solution says is correct: \boxed{True}",
        "Therefore, the AI solution is:\n\n\\boxed{True}",
        "```\n\\boxed{True}\n```",
        "**Verdict:**\n```latex\n$\\boxed{True}$\n```",
        'It says "\\boxed{False}" but errs there.\n\n\\boxed{True}',
        "The student says \\boxed{False}. I disagree.\nSo, all in all, it is \\boxed{True}",
        "\\boxed{False}\nNo, wait.\n**Final verdict:** \\boxed{True}",
        "It says “right” and «so».\n\\boxed{True}",
    ],
)
def test_true(reply: str) -> None:
    assert parse_verdict(reply) == Verdict(True, Reason.OK)


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [
        ("length", Reason.TRUNCATED),
        ("abort", Reason.ABORTED),
        (None, Reason.ABORTED),
        ("content_filter", Reason.UNFINISHED),
        ("", Reason.UNFINISHED),
    ],
)
def test_a_reply_that_did_not_finish_gives_no_verdict(finish_reason: str | None, reason: Reason) -> None:
    assert parse_verdict(r"\boxed{True}", finish_reason) == Verdict(None, reason)


def test_reasons_are_stable_codes_with_unique_numbers() -> None:
    numbers = [reason.number for reason in Reason]
    assert len(numbers) == len(set(numbers))
    assert all(re.fullmatch(r"[a-z_]+", str(reason)) for reason in Reason)
    assert Reason("no_box") is Reason.NO_BOX  # type: ignore[call-arg]
    assert pickle.loads(pickle.dumps(Reason.NO_BOX)) is Reason.NO_BOX


def test_a_verdict_without_value_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        Verdict(None, Reason.OK)
    with pytest.raises(ValueError, match="reason"):
        Verdict(True, Reason.NO_BOX)
