r"""A GenRM of your own: it gives marks from 0 to 10, and a long solution is paid a little less.

reward.custom_reward_function.path=examples/custom_genrm.py reward.custom_reward_function.name=compute_score
"""

import re

from genrm import GenRM, Sample

PROMPT = r"""Mark this solution from 0 (useless) to 10 (right, and well explained).

[Math Problem]
{problem}

[AI Solution]
{solution}

Say in a few sentences what is good and bad about it. End with a line that holds nothing but the mark, as "Mark: 7"."""


def parse(answer: str) -> float | None:
    """The mark as a number from 0 to 1; None where there is none, and the judge is asked again."""
    mark = re.search(r"^Mark: (\d+)\s*\Z", answer, re.MULTILINE)
    return int(mark[1]) / 10 if mark else None


def reward(mark: float, sample: Sample) -> float:
    """What a mark pays."""
    return mark - 0.1 * (len(sample.solution) > 4000)


compute_score = GenRM(PROMPT, parse, reward, markers=("Mark:",)).compute_score
