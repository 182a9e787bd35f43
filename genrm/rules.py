r"""The score of a solution by rule: verl's own where verl is installed, else a small exact match.

Used for validation samples (GENRM_VALIDATION=rule) and where the judge gave no verdict (GENRM_ON_NO_VERDICT=rule).
verl's rules block and may take seconds, so they run in a thread.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache

import anyio.to_thread

from genrm.samples import Sample

logger = logging.getLogger(__name__)


async def rule_score(sample: Sample) -> float:
    """The score by rule, off the event loop. Never raises: what no rule can score is 0."""
    return await anyio.to_thread.run_sync(score_by_rule, sample)


def score_by_rule(sample: Sample) -> float:
    """The score by rule (blocking)."""
    if _is_installed("verl"):
        try:
            return _score_by_verl(sample)
        except NotImplementedError:
            pass  # a data_source that verl has no rule for
        except Exception as error:  # verl's rules raise whatever a solution makes them raise
            logger.warning("verl's rule for %r failed (%s); exact match is used", sample.data_source, error)
    return float(any(answers_match(sample.solution, answer) for answer in sample.answers))


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _score_by_verl(sample: Sample) -> float:
    from verl.utils.reward_score import default_compute_score  # heavy: only where it is used

    result = default_compute_score(sample.data_source, sample.solution, sample.ground_truth, dict(sample.extra_info))
    if isinstance(result, Mapping):
        result = result["score"]
    elif isinstance(result, Sequence):
        result = result[0]
    return float(result)


def answers_match(solution: str, ground_truth: str) -> bool:
    r"""Whether the solution's final answer (in ``\boxed{}``, else behind ``####``) is the ground truth's.

    The ground truth is an answer, or a worked solution that ends with one.
    """
    answer = final_answer(solution)
    truth = final_answer(ground_truth) or ground_truth
    if answer is None or not answer.strip() or not truth.strip():
        return False
    return _canonical(answer) == _canonical(truth) or _equal_by_math_verify(answer, truth)


def final_answer(text: str) -> str | None:
    r"""What the last ``\boxed{}`` holds, else what follows the last ``####`` on its line; None where neither is."""
    start = text.rfind("\\boxed{")
    if start >= 0:
        return _braced(text, start + len("\\boxed{"))
    _, hashes, tail = text.rpartition("####")
    return tail.strip().split("\n")[0].strip() if hashes else None


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start : start + brace.start()]
    return None


_DECORATION = re.compile(r"\\(?:text|mathrm|mathbf|mbox)\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
# The lengths are bounded: Fraction("1e999999999") would compute for ever.
_NUMBER = re.compile(r"[-+]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:/\d{1,40})?")


def _canonical(answer: str) -> Fraction | str:
    """An answer in the form in which equal answers are equal: a number, or its text without decoration."""
    text = _FRACTION.sub(r"\1/\2", _DECORATION.sub(r"\1", answer))
    text = re.sub(r"\s+|\\[,;:! ]|\\(?:left|right)|\\?[$%]|(?<=\d),(?=\d{3})", "", text).rstrip(".").lower()
    if _NUMBER.fullmatch(text):
        numerator, _, denominator = text.partition("/")
        if not denominator:
            return Fraction(numerator)
        if "." not in numerator and int(denominator):
            return Fraction(int(numerator), int(denominator))
    return text


# Computer algebra evaluates what it is given, in a thread that cannot be stopped: 9^9^9^9 or \Gamma(99999999) would
# never end, nor does its parser with 24 brackets in one another, and a policy will find that out. So it sees numbers,
# variables, fractions, roots and intervals; powers, functions and all else are left to the exact match.
_MANAGEABLE = re.compile(
    r"(?:\\(?:[dt]?frac|sqrt|pi|left|right|cdot|times|text|mathrm|infty|pm|cup|circ|[,;:! %$])(?![a-zA-Z])"
    r"|\d{1,15}(?!\d)|[a-zA-Z](?![a-zA-Z])|[-+*/=.,<>|(){}\[\]\s])*"
)
_SCIENTIFIC = re.compile(r"\d\s*[eE]\s*[-+\d]")
_LONGEST_EXPRESSION = 100
_MOST_BRACKETS = 8


def _is_manageable(expression: str) -> bool:
    brackets = sum(expression.count(bracket) for bracket in "([{|")
    return (
        len(expression) <= _LONGEST_EXPRESSION
        and brackets <= _MOST_BRACKETS
        and "**" not in expression
        and not _SCIENTIFIC.search(expression)
        and _MANAGEABLE.fullmatch(expression) is not None
    )


def _equal_by_math_verify(answer: str, truth: str) -> bool:
    if not _is_installed("math_verify") or not (_is_manageable(answer) and _is_manageable(truth)):
        return False
    from math_verify import parse, verify  # heavy: only where it is installed

    # It warns at each call that it has no time limit. See _MANAGEABLE for what stands in for one.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    try:
        # Its time limits use signals, which only the main thread may.
        parsed = [parse(f"${text.strip('$')}$", parsing_timeout=None) for text in (truth, answer)]
        return bool(verify(*parsed, timeout_seconds=None))
    except Exception as error:  # a parser of arbitrary text
        logger.debug("math-verify could not compare: %s", error)
        return False
