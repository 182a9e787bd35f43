"""When a sample is asked again, and after how long a pause. Small policies, put together by tenacity."""

from __future__ import annotations

import random

from tenacity import RetryCallState, retry_base, stop_after_attempt
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from genrm.errors import JudgeError
from genrm.verdicts import Reason, Verdict

LONGEST_PAUSE = 60.0
# These replies were cut short by the server, which may be going to sleep: it is given time.
CUT_SHORT = frozenset({Reason.ABORTED, Reason.UNFINISHED})


def stop_after(attempts: int) -> stop_base:
    """Give up after so many attempts, the first counted in."""
    return stop_after_attempt(attempts)


class retry_without_verdict(retry_base):  # noqa: N801 - named as tenacity names its policies
    """Ask again after a failure that may pass, and after a reply that held no verdict."""

    def __call__(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        if error is not None:
            return isinstance(error, JudgeError) and error.retryable
        return _verdict_of(state).value is None


class wait_as_asked(wait_base):  # noqa: N801 - named as tenacity names its policies
    """Retry-After where the server sent it, else an exponential pause; both with jitter, at most `LONGEST_PAUSE`.

    After a reply that came whole but held no verdict there is nothing to wait for.

    Args:
        base_delay: seconds before the second attempt; doubled for each further one.
        rng: where the jitter comes from.
    """

    def __init__(self, base_delay: float, rng: random.Random | None = None) -> None:
        self._base_delay = base_delay
        self._rng = rng or random.Random()

    def __call__(self, state: RetryCallState) -> float:
        error = _error_of(state)
        if error is None and _verdict_of(state).reason not in CUT_SHORT:
            return 0.0
        asked_for = error.retry_after if isinstance(error, JudgeError) else None
        if asked_for is not None:
            # Not before the time asked for; not all at once after it.
            pause = asked_for + self._base_delay * self._rng.random()
        else:
            pause = self._base_delay * 2.0 ** (state.attempt_number - 1) * (0.5 + 0.5 * self._rng.random())
        return min(pause, LONGEST_PAUSE)


def _error_of(state: RetryCallState) -> BaseException | None:
    assert state.outcome is not None
    return state.outcome.exception()


def _verdict_of(state: RetryCallState) -> Verdict:
    assert state.outcome is not None
    verdict = state.outcome.result()
    assert isinstance(verdict, Verdict)
    return verdict
