"""Planned faults on the SGLang face."""

from __future__ import annotations

import httpx
import pytest

from mock_server import MockServer
from sglang_support import CHAT, Ask, Until, events


class TestFaults:
    """As on vLLM, in SGLang's words."""

    def test_a_status(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        with server.faults({"fault": {"status": {"code": 503, "message": "Full."}}}):
            for path, body in ((CHAT, ask()), ("/generate", {"text": "hi"})):
                answer = http.post(path, json=body)
                assert answer.json() == {
                    "object": "error",
                    "message": "Full.",
                    "type": "InternalServerError",
                    "param": None,
                    "code": 503,
                }
        assert [bool(exchange.faults) for exchange in server.requests] == [True, True]

    def test_another_end(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        with server.faults({"fault": {"finish_reason": "abort"}}):
            (choice,) = http.post(CHAT, json=ask()).json()["choices"]
            assert (choice["finish_reason"], choice["matched_stop"], "stop_reason" in choice) == ("abort", None, False)
            *_, end = events(http.post(CHAT, json=ask(stream=True)))
            assert (end["choices"][0]["finish_reason"], end["choices"][0]["matched_stop"]) == ("abort", None)

    def test_an_error_event(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        with server.faults({"fault": "error_event"}):
            *_, error = events(http.post(CHAT, json=ask(stream=True)))
            assert error["error"]["object"] == "error"
            assert http.post(CHAT, json=ask()).json()["object"] == "error"

    def test_death_and_a_new_life(self, server: MockServer, http: httpx.Client, until: Until, ask: Ask) -> None:
        with server.faults({"fault": {"engine_death": {"restart_after_s": 0.1}}, "when": {"nth": 1}}):
            with pytest.raises(httpx.TransportError):
                http.post(CHAT, json=ask())
            until(lambda: not server.engine.dead)
            assert httpx.get(server.base_url + "/ready").status_code == 200
            assert httpx.post(server.base_url + CHAT, json=ask()).status_code == 200

    def test_scopes(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        headers = {"X-Mock-Scope": "mine"}
        http.put("/_mock/faults", json=[{"fault": {"status": 500}}], headers=headers)
        assert http.post(CHAT, json=ask(), headers=headers).status_code == 500
        assert http.post(CHAT, json=ask()).status_code == 200
        (exchange,) = http.get("/_mock/journal", headers=headers).json()["exchanges"]
        assert exchange["faults"][0]["kind"] == "status"

    def test_the_name_of_a_request_is_no_content(self, server: MockServer, http: httpx.Client, ask: Ask) -> None:
        with server.faults({"fault": {"status": 500}, "when": {"nth": 1}}):
            statuses = [http.post(CHAT, json=ask(rid=rid)).status_code for rid in ("a", "b")]
        assert statuses == [500, 200]
