"""Solutions whose verdict is known, judged by the way that a training run takes."""

from __future__ import annotations

from typing import Any

import pytest

from genrm.reward_function import compute_score_batch
from judges import cases
from judges.cases import Case
from judges.launch import Judge


def judged(of: list[Case], settings: dict[str, Any]) -> list[int]:
    """The verdicts: 1, 0, or -1 for none."""
    records = compute_score_batch(
        data_sources=["gpu_e2e"] * len(of),
        solution_strs=[case.solution for case in of],
        ground_truths=[""] * len(of),
        extra_infos=[{"question": case.problem} for case in of],
        **settings,
    )
    return [int(record["genrm_verdict"]) for record in records]


def test_right_and_wrong_solutions_are_told_apart(judge: Judge, settings: dict[str, Any]) -> None:
    asked = cases.for_judge(judge)
    verdicts = judged(asked, settings)
    wrong = [(case.name, verdict) for case, verdict in zip(asked, verdicts, strict=True) if verdict != case.label]
    right = 1 - len(wrong) / len(asked)
    assert right >= cases.required(judge), f"{right:.0%} of {len(asked)} verdicts are right; not these: {wrong}"


def test_a_verdict_does_not_depend_on_who_is_asked_beside(judge: Judge, settings: dict[str, Any]) -> None:
    if judge.kind.name == "sglang":
        pytest.skip("sglang computes in the model's own type, and a close call may flip; vllm computes in float32")
    asked = cases.for_judge(judge)
    alone = [judged([case], settings)[0] for case in asked[:6]]
    beside = judged(asked, settings)[:6]
    flipped = [case.name for case, one, other in zip(asked[:6], alone, beside, strict=True) if one != other]
    # Of a real model's calls one may be as close as that.
    assert len(flipped) <= (0 if cases.required(judge) == 1.0 else 1), (
        f"{flipped}: {alone} alone, {beside} beside others"
    )
