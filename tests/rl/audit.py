"""Whether it was the judge that paid: how often it was asked, and whether it says the same when it is asked again.

Identical samples in flight are asked once (genrm coalesces them), so there are fewer requests than samples, and never
fewer than different samples in a step. Where verl wrote down genrm's records, those that share a request have its
latency in common, to the last digit, and the count is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genrm.samples import Sample
from rl.curves import Row, Step

Asked = tuple[str, str]
"""A problem's text and a solution."""


def question(row: Row) -> Asked:
    """What the judge was asked for a rollout."""
    return row.problem.text, row.solution


def needs_judge(row: Row) -> bool:
    """Whether the judge must be asked: an empty solution is wrong without it."""
    return not Sample(row.solution).is_empty


def expected_requests(steps: Sequence[Step]) -> tuple[int, int]:
    """The least and the greatest number of requests that fit to these rollouts."""
    least = most = 0
    for step in steps:
        judged = [row for row in step.rows if needs_judge(row)]
        if all("genrm_latency" in row.record for row in judged):
            asked = {(question(row), row.record["genrm_latency"]): row.record["genrm_attempts"] for row in judged}
            # An attempt may have failed before it reached the judge.
            least += len(asked)
            most += sum(asked.values())
        else:
            least += len({question(row) for row in judged})
            most += len(judged)
    return least, most


def complaints_of_requests(steps: Sequence[Step], asked: int) -> list[str]:
    """What is wrong with the number of requests that the judge has counted."""
    least, most = expected_requests(steps)
    if least <= asked <= most:
        return []
    return [f"the judge was asked {asked} times, and {least} to {most} fit to the samples: not all rewards are its own"]


FAULT_SLACK = 0.05
"""By so much the share of calls that a fault befell may differ from the share that was planned."""


def complaints_of_faults(faulty: int, asked: int, planned: float) -> list[str]:
    """Faults that befell more or fewer of the requests than was planned."""
    share = faulty / max(1, asked)
    if abs(share - planned) <= FAULT_SLACK * bool(planned):
        return []
    return [f"a fault befell {share:.1%} of {asked} requests, and {planned:.0%} were planned"]


def complaints_of_fallbacks(steps: Sequence[Step]) -> list[str]:
    """Rewards that no verdict has paid."""
    rows = [row for step in steps for row in step.rows]
    without = [row for row in rows if row.score not in (0.0, 1.0) or row.record.get("genrm_fallback")]
    return [f"{len(without)} of {len(rows)} samples had no verdict, and were paid without one"] if without else []


def complaints_of_rewards(steps: Sequence[Step], verdicts: Mapping[Asked, float]) -> list[str]:
    """Rewards that are not what the judge says of the same solution.

    Args:
        verdicts: of each question, when the judge was asked again.
    """
    rows = [row for step in steps for row in step.rows]
    strange = [row for row in rows if needs_judge(row) and row.score != verdicts[question(row)]]
    strange += [row for row in rows if not needs_judge(row) and row.score != 0.0]
    if not strange:
        return []
    one = strange[0]
    said = verdicts.get(question(one), 0.0)
    return [
        f"{len(strange)} of {len(rows)} rewards are not the judge's; {one.problem.text} {one.solution!r} "
        f"was paid {one.score}, and the judge says {said}"
    ]
