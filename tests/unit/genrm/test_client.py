"""One chat completion: what is sent, what a reply is, and what each failure is called."""

from __future__ import annotations

import contextlib
import email.utils
import json
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrm import (
    BadReply,
    JudgeError,
    JudgeOverloaded,
    JudgeRefused,
    JudgeTimeout,
    JudgeUnreachable,
    Settings,
)
from genrm.client import ChatClient, Reply, open_client
from tests_support import BASE_URL, CHAT, completion

MESSAGES = [{"role": "user", "content": "The following is a math problem: how many?\nLine two."}]


async def ask(messages: list[dict[str, str]] = MESSAGES, **overrides: Any) -> Reply:
    client: ChatClient = open_client(Settings.load(**{"base_url": BASE_URL, **overrides}))
    try:
        return await client.complete(messages)
    finally:
        await client.aclose()


async def test_what_is_sent(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=completion("fine \\boxed{True}", tokens=42))
    reply = await ask(model_name="m", max_tokens=77, extra_body={"top_k": 1})
    assert reply == Reply("fine \\boxed{True}", "stop", 42)
    request = route.calls.last.request
    assert json.loads(request.content) == {
        "model": "m",
        "temperature": 0,
        "max_tokens": 77,
        "top_k": 1,
        "messages": MESSAGES,
    }
    assert "authorization" not in request.headers


async def test_the_key_is_sent_when_there_is_one(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=completion("x"))
    await ask(api_key="sk-1234")
    assert route.calls.last.request.headers["authorization"] == "Bearer sk-1234"


async def test_lone_surrogates_can_be_sent(judge_server: respx.MockRouter) -> None:
    route = judge_server.post(CHAT).mock(return_value=completion("x"))
    await ask([{"role": "user", "content": "\ud800 é"}])
    assert b"\\ud800 \\u00e9" in route.calls.last.request.content


@pytest.mark.parametrize(
    ("text", "finish_reason", "tokens", "reply"),
    [
        (None, "length", 3, Reply("", "length", 3)),
        ("", "abort", 0, Reply("", "abort", 0)),
        ("x", None, -4, Reply("x", None, 0)),
    ],
)
async def test_replies(
    judge_server: respx.MockRouter, text: str | None, finish_reason: str | None, tokens: int, reply: Reply
) -> None:
    judge_server.post(CHAT).mock(return_value=completion(text, finish_reason, tokens))
    assert await ask() == reply


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, JudgeRefused),
        (401, JudgeRefused),
        (404, JudgeRefused),
        (307, JudgeRefused),
        (204, JudgeRefused),
        (408, JudgeOverloaded),
        (409, JudgeOverloaded),
        (429, JudgeOverloaded),
        (500, JudgeOverloaded),
        (503, JudgeOverloaded),
    ],
)
async def test_statuses(judge_server: respx.MockRouter, status: int, kind: type[JudgeError]) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(status, json={"error": {"message": "because"}}))
    with pytest.raises(kind) as caught:
        await ask()
    assert type(caught.value) is kind
    assert (caught.value.url, caught.value.status) == (CHAT, status)
    assert caught.value.cause == f"HTTP {status}: because"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "nested", "code": 400}}', "nested"),
        (b'{"object": "error", "message": "flat"}', "flat"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"plain\n text", "plain text"),
        (b"\xff", "\ufffd"),
        (b"", ""),
        (b"[1]", "[1]"),
    ],
)
async def test_the_server_s_words_are_passed_on(judge_server: respx.MockRouter, body: bytes, said: str) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(500, content=body))
    with pytest.raises(JudgeOverloaded) as caught:
        await ask()
    assert caught.value.cause == f"HTTP 500: {said}".rstrip(": ")


async def test_neither_prompt_nor_key_gets_into_an_error(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(side_effect=lambda request: httpx.Response(400, content=request.content))
    with pytest.raises(JudgeRefused) as caught:
        await ask()
    assert "math problem" not in str(caught.value)
    judge_server.post(CHAT).mock(return_value=httpx.Response(401, text="wrong key sk-1234567"))
    with pytest.raises(JudgeRefused, match=r"HTTP 401: wrong key \*\*\*"):
        await ask(api_key="sk-1234567")


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
        ("soon", None, None),
        ("inf", None, None),
    ],
)
async def test_retry_after(judge_server: respx.MockRouter, header: str, low: float | None, high: float | None) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(429, headers={"retry-after": header}))
    with pytest.raises(JudgeOverloaded) as caught:
        await ask()
    asked_for = caught.value.retry_after
    if low is None or high is None:
        assert asked_for is None
    else:
        assert asked_for is not None
        assert low <= asked_for <= high


@pytest.mark.parametrize(("ahead", "low", "high"), [(100, 60, 101), (-100, 0, 0)])
async def test_retry_after_may_be_a_date(judge_server: respx.MockRouter, ahead: float, low: float, high: float) -> None:
    date = email.utils.formatdate(time.time() + ahead, usegmt=True)
    judge_server.post(CHAT).mock(return_value=httpx.Response(503, headers={"retry-after": date}))
    with pytest.raises(JudgeOverloaded) as caught:
        await ask()
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"[]",
        b"null",
        b'{"error": {"message": "died"}}',
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": ["x"]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "x"}, "finish_reason": 1}]}',
        b"[" * 100_000,
        b'{"choices": "\xff"}',
    ],
)
async def test_a_200_that_is_no_completion(judge_server: respx.MockRouter, body: bytes) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(200, content=body))
    with pytest.raises(BadReply, match="HTTP 200") as caught:
        await ask()
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("refused"), JudgeUnreachable),
        (httpx.RemoteProtocolError("closed"), JudgeUnreachable),
        (httpx.ReadError("reset"), JudgeUnreachable),
        (httpx.ConnectTimeout("slow"), JudgeTimeout),
        (httpx.ReadTimeout("slow"), JudgeTimeout),
    ],
)
async def test_transport_failures(judge_server: respx.MockRouter, raised: Exception, kind: type[JudgeError]) -> None:
    judge_server.post(CHAT).mock(side_effect=raised)
    with pytest.raises(kind) as caught:
        await ask()
    assert type(caught.value) is kind


async def test_the_next_request_goes_to_the_other_url_after_a_failure(judge_server: respx.MockRouter) -> None:
    first = judge_server.post(CHAT).mock(side_effect=httpx.ConnectError("refused"))
    second = judge_server.post("http://other:1/v1/chat/completions").mock(return_value=completion("x"))
    client = open_client(Settings.load(base_url=[BASE_URL, "http://other:1"]))
    with pytest.raises(JudgeUnreachable):
        await client.complete(MESSAGES)
    assert (await client.complete(MESSAGES)).text == "x"
    assert (first.call_count, second.call_count) == (1, 1)
    await client.aclose()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | st.from_regex(rb'\{"choices": ?\[\{"message": ?\{.{0,20}\}.{0,9}\}\]\}'))
def test_whatever_comes_back_is_a_reply_or_a_judge_error(judge_server: respx.MockRouter, body: bytes) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(200, content=body))

    async def run() -> None:
        with contextlib.suppress(JudgeError):
            await ask()

    anyio.run(run)


@pytest.mark.parametrize("escape", [str, repr, json.dumps, lambda text: " ".join(text.split())])
@pytest.mark.parametrize(
    "problem",
    ["Judge it.\nWhat is \\frac{1}{2} of all\tthe eggs?", "小明有五个苹果，他吃了两个，又买了三个，他还有几个苹果？"],
)
async def test_a_piece_of_the_prompt_is_known_however_it_is_written(
    judge_server: respx.MockRouter, problem: str, escape: Callable[[str], str]
) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(400, text=f"bad input: {escape(problem)[5:]}"))
    with pytest.raises(JudgeRefused, match="repeats the prompt"):
        await ask(messages=[{"role": "user", "content": f"{problem}\n\nEnd with a box."}])


async def test_a_message_of_its_own_is_passed_on(judge_server: respx.MockRouter) -> None:
    judge_server.post(CHAT).mock(return_value=httpx.Response(404, text="The model `genrm` does not exist."))
    with pytest.raises(JudgeRefused, match="The model `genrm` does not exist"):
        await ask()
