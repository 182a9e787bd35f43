"""Requests and sleep (contract section 2) over HTTP: what a client sees, hanging or cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from mock_server import MockServer

Ask = Callable[..., dict[str, Any]]
Until = Callable[[Callable[[], object]], None]
CHAT = "/v1/chat/completions"
LONG = {"max_tokens": 20_000, "ignore_eos": True}


def finish(answer: httpx.Response) -> tuple[str, str | None]:
    choice = answer.json()["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


class TestDevEndpoints:
    def test_a_round(self, http: httpx.Client) -> None:
        assert http.post("/sleep", json={"level": 2}).json() == {"status": "sleeping", "level": 1}
        assert http.get("/is_sleeping").json() == {"is_sleeping": True}
        assert http.get("/health").status_code == 200
        assert http.post("/wake_up?tags=weights").json() == {"status": "sleeping", "tags": ["weights"]}
        assert http.get("/is_paused").json() == {"is_paused": True}
        assert http.post("/wake_up?tags=kv_cache").json() == {"status": "awake", "tags": ["kv_cache"]}
        assert http.get("/is_sleeping").json() == {"is_sleeping": False}
        assert http.post("/pause?mode=keep&clear_cache=false").json() == {"status": "paused"}
        assert http.post("/resume").json() == {"status": "resumed"}
        assert http.post("/wake_up").json() == {"status": "awake", "tags": None}

    @pytest.mark.parametrize(
        ("path", "param", "kind"),
        [
            ("/sleep?level=3", "query.level", "less_than_equal"),
            ("/sleep?level=-1", "query.level", "greater_than_equal"),
            ("/sleep?level=", "query.level", "int_parsing"),
            ("/sleep?level=1.5", "query.level", "int_parsing"),
            ("/sleep?mode=junk", "query.mode", "literal_error"),
            ("/pause?mode=junk", "query.mode", "literal_error"),
            ("/pause?clear_cache=perhaps", "query.clear_cache", "bool_parsing"),
        ],
    )
    def test_bad_queries_change_nothing(self, http: httpx.Client, path: str, param: str, kind: str) -> None:
        answer = http.post(path)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
        assert f"'type': '{kind}'" in answer.json()["error"]["message"]
        assert http.get("/is_sleeping").json() == {"is_sleeping": False}

    def test_a_tag_twice(self, http: httpx.Client) -> None:
        http.post("/sleep")
        answer = http.post("/wake_up?tags=weights&tags=weights")
        assert (answer.status_code, answer.json()["error"]) == (
            500,
            {
                "message": "Call to wake_up method failed: 'weights'",
                "type": "InternalServerError",
                "param": None,
                "code": 500,
            },
        )
        assert "vary" not in answer.headers

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ("{}", 0),
            ('{"request_ids": ["nope"]}', 1),
            ("{", None),
            ("", None),
            ("[]", None),
        ],
    )
    def test_abort_requests(self, http: httpx.Client, body: str, answer: int | None) -> None:
        response = http.post("/abort_requests", content=body)
        if answer is None:
            assert (response.status_code, response.json()["error"]["type"]) == (400, "Bad Request")
        else:
            assert response.json() == {"status": "aborted", "aborted": answer}

    def test_abort_requests_by_a_number(self, http: httpx.Client) -> None:
        response = http.post("/abort_requests", json={"request_ids": 1})
        reason = "Failed to abort requests: 'int' object is not iterable"
        assert (response.status_code, response.json()) == (500, {"error": reason})


class TestHanging:
    @pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
    def test_served_after_the_wake(
        self, http: httpx.Client, mock_server: MockServer, pool: ThreadPoolExecutor, until: Until, ask: Ask, path: str
    ) -> None:
        http.post("/sleep")
        body = ask() if path == CHAT else {"prompt": "x"}
        hanging = [pool.submit(httpx.post, mock_server.base_url + path, json=body, timeout=60) for _ in range(3)]
        until(lambda: mock_server.engine.waiting == 3)
        assert "num_requests_waiting" in http.get("/metrics").text  # everything else answers
        assert http.post(CHAT, json=ask(n=0)).status_code == 400
        assert not any(future.done() for future in hanging)
        http.post("/wake_up?tags=weights")
        assert mock_server.engine.waiting == 3
        http.post("/wake_up")
        assert [future.result().status_code for future in hanging] == [200] * 3

    def test_a_stream_has_its_headers_at_once(self, http: httpx.Client, mock_server: MockServer, ask: Ask) -> None:
        http.post("/sleep")
        with httpx.stream("POST", mock_server.base_url + CHAT, json=ask(stream=True), timeout=60) as answer:
            assert answer.status_code == 200
            assert mock_server.requests[0].texts == []
            http.post("/wake_up")
            assert answer.read().endswith(b"data: [DONE]\n\n")

    def test_a_client_that_gives_up(self, http: httpx.Client, mock_server: MockServer, until: Until, ask: Ask) -> None:
        http.post("/sleep")
        for stream in (False, True):
            client = HTTPConnection(mock_server.host, mock_server.port)
            client.request("POST", CHAT, json.dumps(ask(stream=stream)), {"Content-Type": "application/json"})
            until(lambda: mock_server.engine.waiting == 1)
            client.close()
            until(lambda: mock_server.engine.waiting == 0)
        http.post("/wake_up")
        gone, gone_stream = mock_server.requests
        assert (gone.status, gone_stream.status) == (None, 200)
        until(lambda: gone.finish_reasons == gone_stream.finish_reasons == ["dropped"])
        assert gone.text == gone_stream.text == ""

    def test_aborted_while_queued(
        self, http: httpx.Client, mock_server: MockServer, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        http.post("/sleep")
        url = mock_server.base_url + CHAT
        whole = pool.submit(httpx.post, url, json=ask(), timeout=60)
        stream = pool.submit(httpx.post, url, json=ask(stream=True), timeout=60)
        until(lambda: mock_server.engine.waiting == 2)
        http.post("/sleep")
        assert finish(whole.result()) == ("", "abort")
        assert whole.result().json()["usage"]["completion_tokens"] == 0
        role, done = stream.result().text.strip().split("\n\n")  # no finish_reason at all
        assert json.loads(role.removeprefix("data: "))["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert done == "data: [DONE]"


class TestInFlight:
    @pytest.mark.parametrize("how", ["/sleep", "/pause", "/abort_requests"])
    def test_aborted(
        self, slow: httpx.Client, slow_server: MockServer, pool: ThreadPoolExecutor, until: Until, ask: Ask, how: str
    ) -> None:
        whole = pool.submit(httpx.post, slow_server.base_url + CHAT, json=ask(n=2, **LONG), timeout=60)
        until(lambda: slow_server.engine.running == 2)
        assert 'running{engine="0",model_name="genrm-demo"} 2.0' in slow.get("/metrics").text
        with httpx.stream("POST", slow_server.base_url + CHAT, json=ask(stream=True, **LONG), timeout=60) as stream:
            lines = stream.iter_lines()
            until(lambda: '"content":"' in next(lines) and slow_server.engine.running == 3)
            assert slow.post(how, json={}).status_code == 200
            rest = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert rest[-1]["choices"][0]["finish_reason"] == "abort"
        body = whole.result().json()
        assert [choice["finish_reason"] for choice in body["choices"]] == ["abort", "abort"]
        partial = body["choices"][0]["message"]["content"]
        assert slow_server.requests[0].text == partial
        assert body["usage"]["completion_tokens"] == sum(
            len(choice["message"]["content"]) for choice in body["choices"]
        )

    def test_aborted_by_id(
        self, slow: httpx.Client, slow_server: MockServer, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        headers = {"X-Request-Id": "kill-me"}
        url = slow_server.base_url + CHAT
        killed = pool.submit(httpx.post, url, json=ask(**LONG), headers=headers, timeout=60)
        until(lambda: slow_server.engine.running == 1)
        slow.post("/abort_requests", json={"request_ids": ["chatcmpl-kill-me"]})
        assert finish(killed.result())[1] == "abort"

    def test_kept_and_finished_after_the_wake(
        self, slow: httpx.Client, slow_server: MockServer, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        kept = pool.submit(httpx.post, slow_server.base_url + CHAT, json=ask(max_tokens=60), timeout=60)
        until(lambda: slow_server.engine.running == 1)
        slow.post("/sleep?mode=keep")
        assert not kept.done()
        # It waits to be recomputed; the gauge moves with engine steps only.
        assert 'running{engine="0",model_name="genrm-demo"} 1.0' in slow.get("/metrics").text
        slow.post("/wake_up")
        kept_text, reason = finish(kept.result())
        assert reason == "length"
        assert finish(slow.post(CHAT, json=ask(max_tokens=60))) == (kept_text, "length")

    def test_wait_drains(
        self, slow: httpx.Client, slow_server: MockServer, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        url = slow_server.base_url
        running = pool.submit(httpx.post, url + CHAT, json=ask(max_tokens=60), timeout=60)
        until(lambda: slow_server.engine.running == 1)
        sleeping = pool.submit(httpx.post, url + "/sleep?mode=wait", timeout=60)
        until(lambda: slow_server.engine.is_paused)
        queued = pool.submit(httpx.post, url + CHAT, json=ask(max_tokens=4), timeout=60)
        assert sleeping.result().json() == {"status": "sleeping", "level": 1}
        assert finish(running.result())[1] == "length"
        until(lambda: slow_server.engine.waiting == 1)
        slow.post("/wake_up")
        assert finish(queued.result())[1] == "length"

    def test_a_client_that_hangs_up_frees_the_engine(
        self, slow: httpx.Client, slow_server: MockServer, until: Until, ask: Ask
    ) -> None:
        with httpx.stream("POST", slow_server.base_url + CHAT, json=ask(stream=True, **LONG), timeout=60) as stream:
            lines = stream.iter_lines()  # held on to: httpx hangs up when it is collected
            next(lines)
            assert slow_server.engine.running == 1
        until(lambda: slow_server.engine.running == 0)
