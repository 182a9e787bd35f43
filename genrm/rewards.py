"""A judgement -> the reward, and the record that goes with it into the training run.

verl takes the keys of a batch's first record for all (a missing one kills the step, a further one is dropped), so a
record always has the same keys, with plain Python numbers:

==================  ===========================================================================================
score               the reward: 1.0 right, 0.0 wrong, else what GENRM_ON_NO_VERDICT or the rule says
acc                 the same number; verl's validation metrics look for this name
genrm_verdict       1 right, 0 wrong, -1 no verdict; of a `genrm.GenRM` what it gave, from 0 to 1
genrm_reason        why: the number of a `genrm.verdicts.Reason`; 0 with a verdict of the judge
genrm_attempts      requests made for this sample
genrm_latency       seconds
genrm_tokens        tokens of all its requests and replies
genrm_fallback      1 if the score came from GENRM_ON_NO_VERDICT, else 0
==================  ===========================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from genrm.errors import NoVerdictError
from genrm.judge import Judgement
from genrm.rules import rule_score
from genrm.samples import Sample
from genrm.settings import Settings
from genrm.verdicts import Reason, Verdict

Record = dict[str, float]

LEFT_OUT = 2.0**-100
"""The score of a sample that `genrm.verl_plugin` is to leave out of its group. Nothing else is paid that number.

Whoever does not know it has as good as a 0, and means and curves stay finite. float32 holds it exactly; it is lost
where a penalty is added to it, and NaN is not.
"""


Reward = Callable[[float, Sample], float | None]
"""A verdict's value and its sample -> what that pays; None where it pays nothing that is a number."""


def plain_reward(value: float, _sample: Sample) -> float:
    """1.0 right, 0.0 wrong."""
    return float(value)


async def reward_by_judge(
    sample: Sample, judgement: Judgement, settings: Settings, reward: Reward = plain_reward
) -> Record:
    """The record of a sample that the judge was asked about.

    Args:
        reward: what a verdict pays. One that it has no number for is none.

    Raises:
        NoVerdictError: there is no verdict, or none that pays, and GENRM_ON_NO_VERDICT=raise.
    """
    value = judgement.verdict.value
    if value is not None:
        if (score := reward(value, sample)) is not None:
            return _record(float(score), judgement, fallback=False)
        judgement = replace(judgement, verdict=Verdict(None, Reason.UNPAID))
    return _record(await _without_verdict(sample, judgement, settings), judgement, fallback=True)


async def reward_by_rule(sample: Sample) -> Record:
    """The record of a sample that is scored by rule without asking the judge."""
    return _record(await rule_score(sample), Judgement(Verdict(None, Reason.BY_RULE)), fallback=False)


async def _without_verdict(sample: Sample, judgement: Judgement, settings: Settings) -> float:
    policy = settings.on_no_verdict
    if policy == "raise":
        raise NoVerdictError(str(judgement.verdict.reason), judgement.attempts, str(judgement.failure or ""))
    if policy == "nan":
        return math.nan
    if policy == "skip":
        return LEFT_OUT
    if policy == "zero":
        return 0.0
    if policy == "rule":
        return await rule_score(sample) if sample.has_truth else 0.0
    return policy


def _record(score: float, judgement: Judgement, *, fallback: bool) -> Record:
    value = judgement.verdict.value
    return {
        "score": score,
        "acc": score,
        "genrm_verdict": -1 if value is None else value + 0,  # a plain number, as True + 0 is 1
        "genrm_reason": judgement.verdict.reason.number,
        "genrm_attempts": judgement.attempts,
        "genrm_latency": judgement.latency,
        "genrm_tokens": judgement.tokens,
        "genrm_fallback": int(fallback),
    }
