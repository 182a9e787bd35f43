"""Pausing and aborting generation in SGLang."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mock_server import MockServer
from sglang_support import CHAT, Ask, Until, events


class TestPauses:
    @pytest.mark.parametrize("stream", [False, True])
    def test_requests_wait_and_are_answered(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask, stream: bool
    ) -> None:
        paused = http.post("/pause_generation", json={})
        assert paused.json() == {"message": "Generation paused successfully.", "status": "ok"}
        asked = pool.submit(http.post, CHAT, json=ask(stream=stream))
        until(lambda: server.engine.waiting == 1)
        http.post("/abort_request", json={"abort_all": True})
        assert not asked.done()
        continued = http.post("/continue_generation", json={})
        assert continued.json() == {"message": "Generation continued successfully.", "status": "ok"}
        assert asked.result().status_code == 200
        assert server.requests[0].finish_reasons == ["stop"]

    @pytest.mark.parametrize("stream", [False, True])
    def test_what_is_wrong_is_found_out_afterwards(
        self, server: MockServer, http: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask, stream: bool
    ) -> None:
        """Types are looked at at once, values and lengths by an engine that is not paused."""
        http.post("/pause_generation", json={})
        assert http.post(CHAT, json=ask(temperature="hot")).status_code == 400
        asked = pool.submit(http.post, CHAT, json=ask(temperature=-1, stream=stream))
        until(lambda: server.engine.waiting == 1)
        http.post("/continue_generation", json={})
        assert (asked.result().status_code, asked.result().json()["type"]) == (400, "BadRequestError")
        assert server.requests[-1].status == 400

    @pytest.mark.parametrize("stream", [False, True])
    def test_one_that_gives_up_while_paused(
        self, server: MockServer, http: httpx.Client, until: Until, ask: Ask, stream: bool
    ) -> None:
        http.post("/pause_generation", json={})
        with pytest.raises(httpx.ReadTimeout):  # no headers either
            http.post(CHAT, json=ask(stream=stream), timeout=0.5)
        until(lambda: server.engine.waiting == 0)
        http.post("/continue_generation", json={})
        assert http.post(CHAT, json=ask()).status_code == 200

    @pytest.mark.parametrize("how", [{"path": "/pause_generation"}, {"path": "/abort_request", "abort_all": True}])
    @pytest.mark.parametrize("stream", [False, True])
    def test_aborted_is_200(
        self,
        slow_server: MockServer,
        slow: httpx.Client,
        pool: ThreadPoolExecutor,
        until: Until,
        ask: Ask,
        stream: bool,
        how: dict[str, Any],
    ) -> None:
        asked = pool.submit(slow.post, CHAT, json=ask(stream=stream, n=2, temperature=1))
        until(lambda: slow_server.engine.running == 2)
        body = dict(how)
        assert slow.post(body.pop("path"), json=body).status_code == 200
        answer = asked.result()
        assert answer.status_code == 200
        choices = [event["choices"][0] for event in events(answer)[-2:]] if stream else answer.json()["choices"]
        assert [(choice["finish_reason"], choice["matched_stop"]) for choice in choices] == [("abort", None)] * 2

    def test_aborted_by_name(
        self, slow_server: MockServer, slow: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        asked = pool.submit(slow.post, CHAT, json=ask(rid="mine"))
        until(lambda: slow_server.engine.running == 1)
        for body in ({}, {"rid": "another"}, {"rid": ""}):
            empty = slow.post("/abort_request", json=body)
            assert (empty.status_code, empty.content) == (200, b"")
        assert slow_server.engine.running == 1
        again = slow.post(CHAT, json=ask(rid="mine"))
        assert (again.status_code, again.json()["message"]) == (400, "Duplicate request ID detected: mine")
        slow.post("/abort_request", json={"rid": "mine"})
        assert asked.result().json()["choices"][0]["finish_reason"] == "abort"

    @pytest.mark.parametrize("mode", ["retract", "in_place"])
    def test_held_requests_go_on(
        self, slow_server: MockServer, slow: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask, mode: str
    ) -> None:
        asked = pool.submit(slow.post, CHAT, json=ask(max_tokens=40))
        until(lambda: slow_server.engine.running == 1)
        slow.post("/pause_generation", json={"mode": mode})
        assert (slow_server.engine.running, slow_server.engine.waiting) == ((1, 0) if mode == "in_place" else (0, 1))
        assert slow.post("/flush_cache").status_code == (400 if mode == "in_place" else 200)
        slow.post("/continue_generation", json={})
        (choice,) = asked.result().json()["choices"]
        assert (len(choice["message"]["content"]), choice["finish_reason"]) == (40, "length")

    def test_unknown_modes(self, http: httpx.Client) -> None:
        assert http.post("/pause_generation", json={"mode": "nap"}).status_code == 400

    def test_a_client_that_hangs_up(self, slow_server: MockServer, slow: httpx.Client, until: Until, ask: Ask) -> None:
        with slow.stream("POST", CHAT, json=ask(stream=True)) as answer:
            next(answer.iter_lines())
        until(lambda: slow_server.engine.running == 0)
        assert slow.post("/flush_cache").text.startswith("Cache flushed.")

    def test_flushing_while_busy(
        self, slow_server: MockServer, slow: httpx.Client, pool: ThreadPoolExecutor, until: Until, ask: Ask
    ) -> None:
        asked = pool.submit(slow.post, CHAT, json=ask(rid="mine"))
        until(lambda: slow_server.engine.running == 1)
        busy = slow.get("/flush_cache")
        assert (busy.status_code, busy.text) == (400, "Flush cache failed.\n")
        assert slow.get("/flush_cache?timeout=0.05").text == "Timed out waiting for idle state."
        assert slow.get("/flush_cache?timeout=-1").json()["type"] == "Bad Request"
        slow.post("/abort_request", json={"rid": "mine"})
        asked.result()
