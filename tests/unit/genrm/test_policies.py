"""The small policies of asking: when again, after which pause, and which URL."""

from __future__ import annotations

import random
from concurrent.futures import Future

import pytest
from tenacity import AsyncRetrying, RetryCallState

from genrm import JudgeOverloaded, JudgeRefused, Reason, Verdict
from genrm.endpoints import Endpoints
from genrm.retries import LONGEST_PAUSE, retry_without_verdict, wait_as_asked

URL = "http://a/v1/chat/completions"


def after(outcome: Verdict | BaseException, attempt: int = 1) -> RetryCallState:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    future: Future[Verdict] = Future()
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    state.attempt_number = attempt
    state.outcome = future  # type: ignore[assignment]
    return state


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (JudgeOverloaded(URL, "HTTP 503"), True),
        (JudgeRefused(URL, "HTTP 401"), False),
        (ValueError("a bug"), False),
        (Verdict(None, Reason.NO_BOX), True),
        (Verdict(False, Reason.OK), False),
    ],
)
def test_when_a_sample_is_asked_again(outcome: Verdict | BaseException, again: bool) -> None:
    assert retry_without_verdict()(after(outcome)) is again


def test_pauses_double_with_jitter_and_are_bounded() -> None:
    failure = JudgeOverloaded(URL, "HTTP 503")
    for attempt in range(1, 12):
        pauses = [wait_as_asked(2.0, random.Random(seed))(after(failure, attempt)) for seed in range(50)]
        longest = min(LONGEST_PAUSE, 2.0 * 2 ** (attempt - 1))
        assert longest / 2 <= min(pauses) <= max(pauses) <= longest
        assert attempt > 5 or len(set(pauses)) > 40


def test_retry_after_is_honoured() -> None:
    for seed in range(20):
        pause = wait_as_asked(1.0, random.Random(seed))(after(JudgeOverloaded(URL, "busy", retry_after=7.0)))
        assert 7.0 <= pause <= 8.0
    assert wait_as_asked(1.0)(after(JudgeOverloaded(URL, "busy", retry_after=9999.0))) == LONGEST_PAUSE


def test_a_whole_reply_without_verdict_is_not_waited_for_but_an_aborted_one_is() -> None:
    assert wait_as_asked(2.0)(after(Verdict(None, Reason.NO_BOX))) == 0.0
    assert wait_as_asked(2.0)(after(Verdict(None, Reason.ABORTED))) >= 1.0


def test_requests_go_where_the_fewest_are_in_flight() -> None:
    endpoints = Endpoints(["a", "b", "c"])
    with endpoints.use() as first, endpoints.use() as second, endpoints.use() as third, endpoints.use() as fourth:
        assert [first.url, second.url, third.url, fourth.url] == ["a", "b", "c", "a"]
    with endpoints.use() as again:
        assert (again.url, again.in_flight) == ("a", 1)


def test_an_endpoint_that_failed_is_avoided_for_a_while() -> None:
    now = 100.0
    endpoints = Endpoints(["a", "b"], clock=lambda: now)
    with endpoints.use() as endpoint:
        endpoints.failed(endpoint)
    with endpoints.use() as first, endpoints.use() as second:
        assert (first.url, second.url) == ("b", "b")
    now += 1.5
    with endpoints.use() as endpoint:
        assert endpoint.url == "a"
        endpoints.failed(endpoint)  # the second in a row: two seconds
    now += 1.5
    with endpoints.use() as endpoint:
        assert endpoint.url == "b"
    now += 1.0
    with endpoints.use() as endpoint:
        endpoints.succeeded(endpoint)
        assert (endpoint.url, endpoint.failures) == ("a", 0)


def test_where_all_failed_the_one_whose_pause_ends_first_is_asked() -> None:
    now = 0.0
    endpoints = Endpoints(["a", "b"], clock=lambda: now)
    for _ in range(2):
        with endpoints.use() as endpoint:
            endpoints.failed(endpoint)
        now += 0.25
    with endpoints.use() as endpoint:
        assert endpoint.url == "a"
