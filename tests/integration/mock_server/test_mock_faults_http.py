"""What clients see of each fault: a raw socket, httpx, and the official SDK."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from mock_server import MockServer, ScenarioError
from mock_server.serving import http_server

Ask = Callable[..., dict[str, Any]]
Until = Callable[..., None]
CHAT = "/v1/chat/completions"
FIN, RST = "FIN", "RST"


class Raw:
    """One connection with one request on it, and all that comes back."""

    def __init__(self, server: MockServer, body: dict[str, Any], path: str = CHAT) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=60)
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + data)

    def read(self, until: bytes | None = None) -> tuple[bytes, str]:
        """Everything up to the end of the connection, or up to `until`; and how it ended."""
        got = b""
        while until is None or until not in got:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return got, RST
            if not data:
                return got, FIN
            got += data
        return got, ""

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(params=["httptools", "h11"])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, mock_server_factory: Callable[..., MockServer]
) -> MockServer:
    """A mock by either of uvicorn's HTTP protocols."""
    if request.param == "h11":
        monkeypatch.setattr(http_server, "Protocol", type("H11", (http_server.KeepsTransport, H11Protocol), {}))
    return mock_server_factory()


def raw(server: MockServer, body: dict[str, Any], until: bytes | None = None) -> tuple[bytes, bytes, str]:
    """Head, body and end of an answer."""
    connection = Raw(server, body)
    try:
        data, end = connection.read(until)
    finally:
        connection.close()
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.lower(), rest, end


def first_chunk(body: bytes) -> tuple[bytes, bytes]:
    """The first chunk of a chunked body, and what comes after it."""
    size, _, rest = body.partition(b"\r\n")
    length = int(size, 16)
    assert rest[length : length + 2] == b"\r\n"
    return rest[:length], rest[length + 2 :]


def length_in(head: bytes) -> int | None:
    found = re.search(rb"content-length: (\d+)", head)
    return int(found.group(1)) if found else None


class TestAtTheSocket:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(("fault", "expected"), [("reset", RST), ("close", FIN)])
    def test_without_an_answer(self, server: MockServer, ask: Ask, fault: str, expected: str, stream: bool) -> None:
        with server.faults({"fault": fault}):
            assert raw(server, ask(stream=stream)) == (b"", b"", expected)
        [exchange] = server.requests
        assert (exchange.status, exchange.faults[0]["kind"], exchange.answers) == (None, fault, [])

    def test_a_hang_before_headers_lasts_until_the_client_gives_up(
        self, server: MockServer, ask: Ask, until: Until
    ) -> None:
        with server.faults({"fault": "hang"}):
            connection = Raw(server, ask())
            until(lambda: server.requests and server.requests[0].faults)
            assert httpx.get(server.base_url + "/health").status_code == 200
            connection.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.socket.recv(1)
            assert server.requests[0].seconds is None
            connection.close()
            until(lambda: server.requests[0].seconds is not None)
        assert server.requests[0].status is None

    def test_a_hang_does_not_hold_up_the_end(self, ask: Ask, until: Until, caplog: pytest.LogCaptureFixture) -> None:
        with MockServer(scenario={"faults": [{"fault": "hang"}]}) as server:
            connection = Raw(server, ask())
            until(lambda: server.requests)
        assert connection.read() == (b"", FIN)
        connection.close()
        assert caplog.records == []

    @pytest.mark.parametrize("at", [0, 0.5])
    def test_a_body_of_fixed_length_that_is_cut(self, server: MockServer, ask: Ask, at: float) -> None:
        with server.faults({"fault": {"cut": {"at": at}}}):
            head, body, end = raw(server, ask())
        assert head.startswith(b"http/1.1 200 ok")
        length = length_in(head)
        assert length is not None
        assert (len(body), end) == (int(length * at), FIN)

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_body_in_chunks_that_is_cut(self, server: MockServer, ask: Ask, stream: bool) -> None:
        with server.faults({"fault": {"cut": {"framing": "chunked"}}}):
            head, body, end = raw(server, ask(stream=stream))
        assert b"transfer-encoding: chunked" in head
        assert length_in(head) is None
        said, after = first_chunk(body)
        assert said
        assert (after, end) == (b"", FIN)  # there is no last chunk

    def test_a_stream_of_fixed_length_that_is_cut(self, server: MockServer, ask: Ask) -> None:
        with server.faults({"fault": {"cut": {"framing": "length"}}}):
            head, body, end = raw(server, ask(stream=True))
        assert b"chunked" not in head
        assert len(body) == (length_in(head) or 0) // 2 > 0
        assert end == FIN

    def test_a_reset_in_the_body(self, server: MockServer, ask: Ask) -> None:
        with server.faults({"fault": {"reset": {"after": 0.5}}}):
            head, body, end = raw(server, ask())
        assert end == RST
        # What was on its way when the reset came may or may not have been read.
        assert not head or length_in(head)
        assert len(body) <= (length_in(head) or 0) // 2

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_malformed_chunk(self, server: MockServer, ask: Ask, stream: bool) -> None:
        with server.faults({"fault": "malformed_chunk"}):
            head, body, end = raw(server, ask(stream=stream))
        assert b"transfer-encoding: chunked" in head
        _, after = first_chunk(body)
        assert after.startswith(b"not-a-length\r\n")
        assert end == FIN

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_slow_drip_is_the_whole_answer(
        self, server: MockServer, http: httpx.Client, ask: Ask, stream: bool
    ) -> None:
        with server.faults({"fault": {"drip": {"bytes": 300, "seconds": 0.001}}}):
            answer = httpx.post(server.base_url + CHAT, json=ask(stream=stream))
        plain = httpx.post(server.base_url + CHAT, json=ask(stream=stream))
        assert len(answer.content) == len(plain.content)
        assert answer.headers["content-type"] == plain.headers["content-type"]

    def test_a_client_that_leaves_a_drip(self, server: MockServer, ask: Ask, until: Until) -> None:
        with server.faults({"fault": {"drip": {"bytes": 1, "seconds": 3600}}}):
            head, body, _ = raw(server, ask(), until=b"\r\n\r\n{")
            assert (b"200 ok" in head, body) == (True, b"{")
            until(lambda: server.requests[0].seconds is not None)

    def test_a_client_that_leaves_a_latency(self, server: MockServer, ask: Ask, until: Until) -> None:
        with server.faults({"fault": {"latency": 3600}}):
            connection = Raw(server, ask())
            until(lambda: server.requests and server.requests[0].faults)
            connection.close()
            until(lambda: server.requests[0].seconds is not None)
        assert server.requests[0].answers == []  # it never came to the engine

    def test_a_client_that_leaves_in_its_own_body(
        self, server: MockServer, until: Until, caplog: pytest.LogCaptureFixture
    ) -> None:
        with server.faults({"fault": "close"}):
            with socket.create_connection((server.host, server.port)) as client:
                client.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
                until(lambda: server.requests)
            until(lambda: server.requests[0].seconds is not None)
        assert caplog.records == []


class TestByHttpx:
    def test_status(self, server: MockServer, ask: Ask) -> None:
        with server.faults({"fault": {"status": {"code": 429, "retry_after": 1.5, "message": "Busy."}}, "times": 1}):
            answer = httpx.post(server.base_url + CHAT, json=ask())
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1.5")
            assert answer.json()["error"] == {"message": "Busy.", "type": "BadRequestError", "param": None, "code": 429}
            assert httpx.post(server.base_url + CHAT, json=ask()).status_code == 200
        with server.faults({"fault": {"status": {"code": 503, "retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"}}}):
            answer = httpx.post(server.base_url + CHAT, json=ask())
            assert (answer.status_code, answer.headers["retry-after"][:3]) == (503, "Fri")
        with server.faults({"fault": {"status": 500}}):
            assert "retry-after" not in httpx.post(server.base_url + CHAT, json=ask()).headers
        assert [exchange.status for exchange in server.requests] == [429, 200, 503, 500]

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("reset", httpx.ReadError),
            ("close", httpx.RemoteProtocolError),
            ("cut", httpx.RemoteProtocolError),
            ({"cut": {"framing": "chunked"}}, httpx.RemoteProtocolError),
            ("malformed_chunk", httpx.RemoteProtocolError),
        ],
    )
    def test_broken_connections(self, mock_server: MockServer, ask: Ask, fault: Any, error: type[Exception]) -> None:
        with mock_server.faults({"fault": fault}), pytest.raises(error):
            httpx.post(mock_server.base_url + CHAT, json=ask())

    def test_a_request_after_a_fault_on_the_same_connection(
        self, mock_server: MockServer, http: httpx.Client, ask: Ask
    ) -> None:
        for fault in ("invalid_json", "content_type", {"status": 500}):
            with mock_server.faults({"fault": fault}):
                http.post(CHAT, json=ask())
            assert http.post(CHAT, json=ask()).json()["choices"]

    def test_replies(self, mock_server: MockServer, http: httpx.Client, ask: Ask) -> None:
        def get(fault: Any) -> httpx.Response:
            with mock_server.faults({"fault": fault}):
                answer = http.post(CHAT, json=ask())
            assert answer.status_code == 200
            return answer

        assert get({"content_type": "text/plain"}).headers["content-type"] == "text/plain"
        assert get("content_type").headers["content-type"] == "text/html"
        with pytest.raises(json.JSONDecodeError):
            get("invalid_json").json()
        assert get("empty_choices").json()["choices"] == []
        assert get("null_content").json()["choices"][0]["message"]["content"] is None
        assert get("error_event").json()["error"]["type"] == "InternalServerError"
        whole = get({"finish_reason": {"reason": "content_filter", "keep": 1}}).json()["choices"][0]
        assert whole["finish_reason"] == "content_filter"
        assert "boxed{" in whole["message"]["content"]

    def test_streams(self, mock_server: MockServer, http: httpx.Client, ask: Ask) -> None:
        def get(fault: Any) -> str:
            with mock_server.faults({"fault": fault}):
                answer = http.post(CHAT, json=ask(stream=True))
            assert (answer.status_code, answer.headers["content-type"][:17]) == (200, "text/event-stream")
            return answer.text

        assert "[DONE]" not in get("done_missing")
        assert get("error_event").endswith('"code":500}}\n\ndata: [DONE]\n\n')
        assert '"finish_reason":"abort"' in get({"finish_reason": "abort"})
        assert '"finish_reason":"stop"' not in get({"finish_reason": "abort"})
        assert get("empty_choices").count('"choices":[]') > 3

    def test_other_endpoints(self, mock_server: MockServer, http: httpx.Client) -> None:
        with mock_server.faults(
            {"match": {"path": "/sleep"}, "fault": {"status": 500}, "times": 1},
            {"match": {"path": "/health"}, "fault": {"status": 503}, "when": {"nth": [2]}},
        ):
            assert [http.post("/sleep").status_code for _ in range(2)] == [500, 200]
            assert [http.get("/health").status_code for _ in range(3)] == [200, 503, 200]
        noted = [(exchange.path, exchange.status, bool(exchange.faults)) for exchange in mock_server.journal]
        assert noted == [("/sleep", 500, True), ("/sleep", 200, False), ("/health", 503, True)]

    def test_an_api_key_comes_first(self, mock_server_factory: Callable[..., MockServer], ask: Ask) -> None:
        server = mock_server_factory(api_key="k", scenario={"faults": [{"fault": "close"}]})
        assert httpx.post(server.base_url + CHAT, json=ask()).status_code == 401

    def test_refused_requests_stay_refused(self, mock_server: MockServer, http: httpx.Client) -> None:
        with mock_server.faults({"fault": "null_content"}):
            assert http.post(CHAT, json={"messages": []}).status_code == 400
            assert http.post(CHAT, content=b"\xff", headers={"content-type": "application/json"}).status_code == 400
        assert [exchange.status for exchange in mock_server.requests] == [400, 400]

    def test_a_wrong_plan_changes_nothing(self, mock_server: MockServer) -> None:
        with pytest.raises(ScenarioError, match="did you mean close"), mock_server.faults({"fault": "clos"}):
            pass
        with mock_server.faults({"fault": "close"}, scope="s"), mock_server.faults({"fault": "hang"}, scope="s"):
            pass


class TestBySdk:
    """With retries the SDK gets over what passes."""

    @pytest.mark.parametrize("fault", [{"code": 503, "retry_after": 0.01}, {"code": 429, "retry_after": 0.01}])
    def test_the_first_two_fail_then_ok(self, mock_server: MockServer, ask: Ask, fault: dict[str, Any]) -> None:
        with (
            openai.OpenAI(base_url=f"{mock_server.base_url}/v1", api_key="-", max_retries=2) as client,
            mock_server.faults({"fault": {"status": fault}, "when": {"nth": [1, 2]}}),
        ):
            answer = client.chat.completions.create(model="genrm-demo", **ask())
        assert answer.choices[0].finish_reason == "stop"
        assert [exchange.status for exchange in mock_server.requests] == [fault["code"], fault["code"], 200]

    @pytest.mark.parametrize("fault", ["reset", "close", "cut", "malformed_chunk"])
    def test_broken_connections(self, mock_server: MockServer, ask: Ask, fault: str) -> None:
        with (
            openai.OpenAI(base_url=f"{mock_server.base_url}/v1", api_key="-", max_retries=0) as client,
            mock_server.faults({"fault": fault}),
            pytest.raises(openai.APIConnectionError if fault in ("reset", "close") else Exception),
        ):
            client.chat.completions.create(model="genrm-demo", **ask())

    def test_an_error_event_in_a_stream(self, mock_server: MockServer, ask: Ask) -> None:
        with (
            openai.OpenAI(base_url=f"{mock_server.base_url}/v1", api_key="-", max_retries=0) as client,
            mock_server.faults({"fault": {"error_event": {"message": "Out of luck"}}}),
        ):
            stream = client.chat.completions.create(model="genrm-demo", stream=True, **ask())
            with pytest.raises(openai.APIError, match="Out of luck"):
                list(stream)


async def test_what_befalls_each_request_is_the_same_in_any_order(
    mock_server_factory: Callable[..., MockServer], ask: Ask
) -> None:
    """Two servers, two orders, 16 at once: each content meets the same, three times in a row."""
    faults = [
        {"when": {"share": 0.3}, "fault": {"status": 503}},
        {"when": {"share": 0.3}, "fault": "close"},
        {"match": {"content": "7"}, "when": {"nth": [2]}, "fault": "null_content"},
    ]

    async def outcomes(order: list[int]) -> dict[int, list[str]]:
        server = mock_server_factory(scenario={"faults": faults}, seed=4)
        found: dict[int, list[str]] = {number: [] for number in order}
        slots = asyncio.Semaphore(16)

        async def one(http: httpx.AsyncClient, number: int) -> None:
            for _ in range(3):
                async with slots:
                    try:
                        answer = await http.post(CHAT, json=ask(f"number {number}"))
                        found[number].append(f"{answer.status_code} {len(answer.content)}")
                    except httpx.RemoteProtocolError:
                        found[number].append("closed")

        async with httpx.AsyncClient(base_url=server.base_url, timeout=60) as http:
            await asyncio.gather(*(one(http, number) for number in order))
        return found

    order = list(range(40))
    shuffled = random.Random(1).sample(order, len(order))
    first = await outcomes(order)
    assert first == await outcomes(shuffled)
    kinds = {outcome.split()[0] for row in first.values() for outcome in row}
    assert kinds == {"200", "503", "closed"}


class TestDeath:
    def test_whoever_is_in_flight_is_told_then_nobody_gets_in(
        self, slow_server: MockServer, pool: ThreadPoolExecutor, ask: Ask, until: Until
    ) -> None:
        url = slow_server.base_url + CHAT
        whole = pool.submit(httpx.post, url, json=ask(), timeout=60)
        stream = pool.submit(httpx.post, url, json=ask(stream=True), timeout=60)
        until(lambda: slow_server.engine.running == 2)
        with slow_server.faults({"match": {"content": "poison"}, "fault": "engine_death"}):
            poisoned = httpx.post(url, json=ask("poison"), timeout=60)
        message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
        error = {"error": {"message": message, "type": "InternalServerError", "param": None, "code": 500}}
        for answer in (poisoned, whole.result()):
            assert (answer.status_code, answer.json()) == (500, error)
        *_, last, done, nothing = stream.result().text.split("\n\n")
        assert (stream.result().status_code, json.loads(last[6:]), done, nothing) == (200, error, "data: [DONE]", "")
        with pytest.raises(httpx.ConnectError):
            httpx.get(slow_server.base_url + "/health")
        assert [exchange.finish_reasons for exchange in slow_server.requests] == [["error"]] * 3

    def test_a_poisoned_stream(self, mock_server: MockServer, ask: Ask) -> None:
        with mock_server.faults({"fault": "engine_death"}):
            answer = httpx.post(mock_server.base_url + CHAT, json=ask(stream=True))
        assert answer.status_code == 200
        assert answer.text.startswith('data: {"error":')
        assert answer.text.endswith("data: [DONE]\n\n")

    def test_it_comes_back_with_a_fresh_engine(
        self, server: MockServer, ask: Ask, until: Until, caplog: pytest.LogCaptureFixture
    ) -> None:
        httpx.post(server.base_url + "/sleep?level=2")
        hanging = Raw(server, ask())
        until(lambda: server.engine.waiting == 1)
        threads = threading.active_count()
        for _ in range(2):  # it can die again
            with server.faults({"fault": {"engine_death": {"restart_after_s": 0.05}}}):
                assert httpx.post(server.base_url + CHAT, json=ask()).status_code == 500
                until(lambda: answers(server))
            assert not server.engine.is_sleeping
            assert httpx.post(server.base_url + CHAT, json=ask()).json()["choices"]
        data, end = hanging.read()
        hanging.close()
        assert (data[:12], end) == (b"HTTP/1.1 500", FIN)
        assert (threading.active_count(), caplog.records) == (threads, [])

    def test_it_can_be_stopped_while_it_is_dead(self, ask: Ask) -> None:
        with MockServer() as server:
            with server.faults({"fault": {"engine_death": {"restart_after_s": 3600}}}):
                httpx.post(server.base_url + CHAT, json=ask())
            port = server.port
        with MockServer(port=port) as again:  # its place is free
            assert answers(again)


def answers(server: MockServer) -> bool:
    try:
        return httpx.get(server.base_url + "/health").status_code == 200
    except httpx.TransportError:
        return False
