"""Rewards: what a verdict pays, what none becomes, and a record of which verl can be sure."""

from __future__ import annotations

import math
import struct
import sys
from typing import Any

import pytest

from genrm import Judgement, JudgeUnreachable, NoVerdictError, Reason, Sample, Settings, Verdict
from genrm.rewards import LEFT_OUT, reward_by_judge, reward_by_rule

KEYS = ["score", "acc", "genrm_verdict", "genrm_reason", "genrm_attempts", "genrm_latency", "genrm_tokens"]
KEYS += ["genrm_fallback"]
RIGHT = Sample("\\boxed{4}", "4", "mine")
NO_TRUTH = Sample("\\boxed{4}", None, "mine")
NO_VERDICT = Judgement(Verdict(None, Reason.UNREACHABLE), 3, 1.5, 7, failure=JudgeUnreachable("u", "c", attempt=3))


def check(record: dict[str, float]) -> None:
    assert list(record) == KEYS
    assert all(type(value) in (int, float) for value in record.values())


@pytest.mark.parametrize("value", [True, False])
async def test_a_verdict_pays(value: bool) -> None:
    record = await reward_by_judge(RIGHT, Judgement(Verdict(value, Reason.OK), 2, 0.5, 30), Settings.load())
    check(record)
    assert tuple(record.values()) == (float(value), float(value), int(value), 0, 2, 0.5, 30, 0)


async def test_an_empty_solution_pays_nothing() -> None:
    record = await reward_by_judge(RIGHT, Judgement(Verdict(False, Reason.EMPTY_SOLUTION)), Settings.load())
    check(record)
    assert (record["score"], record["genrm_verdict"], record["genrm_reason"], record["genrm_fallback"]) == (
        0.0,
        0,
        30,
        0,
    )


@pytest.mark.parametrize(
    ("policy", "sample", "score"),
    [
        ("rule", RIGHT, 1.0),
        ("rule", Sample("\\boxed{5}", "4"), 0.0),
        ("rule", NO_TRUTH, 0.0),
        ("zero", RIGHT, 0.0),
        ("skip", RIGHT, 0.0),
        (0.25, RIGHT, 0.25),
        (-1, RIGHT, -1.0),
        ("nan", RIGHT, math.nan),
    ],
)
async def test_no_verdict_is_what_the_setting_says(policy: Any, sample: Sample, score: float) -> None:
    record = await reward_by_judge(sample, NO_VERDICT, Settings.load(on_no_verdict=policy))
    check(record)
    assert record["score"] == pytest.approx(score, nan_ok=True)
    assert record["acc"] == pytest.approx(score, nan_ok=True)
    assert (record["genrm_verdict"], record["genrm_reason"], record["genrm_fallback"]) == (-1, 20, 1)


async def test_what_is_to_be_left_out_is_known_by_its_number() -> None:
    """Also in float32, which verl keeps rewards in; nearly 0 for everybody else."""
    record = await reward_by_judge(RIGHT, NO_VERDICT, Settings.load(on_no_verdict="skip"))
    assert record["score"] == LEFT_OUT == struct.unpack("f", struct.pack("f", LEFT_OUT))[0]
    assert 0 != LEFT_OUT < sys.float_info.epsilon


async def test_no_verdict_may_be_an_error() -> None:
    with pytest.raises(
        NoVerdictError, match=r"no verdict \(unreachable\) after 3 attempt\(s\); last failure: u \(attempt 3\): c"
    ):
        await reward_by_judge(RIGHT, NO_VERDICT, Settings.load(on_no_verdict="raise"))


async def test_by_rule() -> None:
    record = await reward_by_rule(RIGHT)
    check(record)
    assert (record["score"], record["genrm_verdict"], record["genrm_reason"], record["genrm_attempts"]) == (
        1.0,
        -1,
        31,
        0,
    )
