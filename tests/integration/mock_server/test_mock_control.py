"""The control API: state, journal, scripts, waiting, scopes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mock_server import MockServer

Ask = Callable[..., dict[str, Any]]
CHAT = "/v1/chat/completions"


def scoped(name: str) -> dict[str, str]:
    return {"X-Mock-Scope": name}


class TestState:
    def test_state(self, mock_server_factory: Callable[..., MockServer], ask: Ask) -> None:
        server = mock_server_factory(seed=7, api_key="k")
        with httpx.Client(base_url=server.base_url) as http:  # without the key
            state = http.get("/_mock/state").json()
            assert state.pop("uptime_s") >= 0
            assert state == {
                "engine": {"dead": False, "scheduling": "run", "is_paused": False, "is_sleeping": False, "asleep": []},
                "gpu": None,
                "running": 0, "waiting": 0, "requests": 0, "answered": 0, "faulted": 0, "scope": "", "scopes": [],
                "scenario": "default", "seed": 7, "faults": 0,
            }  # fmt: skip
            http.post("/sleep")
            engine = http.get("/_mock/state").json()["engine"]
            assert (engine["scheduling"], engine["asleep"]) == ("paused_new", ["kv_cache", "weights"])

    def test_it_can_be_turned_off(self, mock_server_factory: Callable[..., MockServer]) -> None:
        server = mock_server_factory(control=False)
        for path in ("/_mock/state", "/_mock/journal"):
            assert httpx.get(server.base_url + path).status_code == 404

    def test_it_is_in_no_journal_and_meets_no_fault(self, http: httpx.Client, mock_server: MockServer) -> None:
        plan = [{"match": {"path": path}, "fault": "close"} for path in ("/_mock/reset", "/_mock/state")]
        assert http.put("/_mock/faults", json=plan).status_code == 200
        assert http.get("/_mock/state").json()["faults"] == 2
        assert http.post("/_mock/reset").json() == {"status": "reset"}
        assert mock_server.journal == []


class TestJournal:
    def test_an_exchange(self, http: httpx.Client, mock_server: MockServer, ask: Ask) -> None:
        http.put("/_mock/faults", json=[{"fault": {"finish_reason": "abort"}, "when": {"nth": [2]}}])
        http.post(CHAT, json=ask(temperature=0))
        http.post(CHAT, json=ask(temperature=0))
        http.post("/sleep?level=1")
        http.get("/health")
        first, second, sleep = http.get("/_mock/journal").json()["exchanges"]
        assert first["body"] == ask(temperature=0)
        assert (first["number"], first["method"], first["path"], first["status"]) == (1, "POST", CHAT, 200)
        assert first["answers"] == [{"shape": "verdict", "verdict": True, "truth": True}]
        assert "boxed{" in first["texts"][0]
        assert (first["finish_reasons"], first["faults"]) == (["stop"], [])
        assert first["state"] == {"dead": False, "scheduling": "run", "asleep": [], "running": 0, "waiting": 0}
        assert first["seconds"] > 0
        assert first["arrived"] <= second["arrived"]
        assert second["faults"] == [{"fault": 0, "kind": "finish_reason", "call": 2, "why": "call 2: nth [2]"}]
        assert (sleep["path"], sleep["query"], sleep["status"], sleep["body"]) == ("/sleep", "level=1", 200, None)
        assert [exchange.path for exchange in mock_server.requests] == [CHAT, CHAT]

    def test_selection(self, http: httpx.Client, ask: Ask) -> None:
        for scope in ("a", "b", "a"):
            http.post(CHAT, json=ask(), headers=scoped(scope))
        http.post("/v1/completions", json={"prompt": "x"})

        def numbers(query: str, **headers: str) -> list[int]:
            exchanges = http.get(f"/_mock/journal?{query}", headers=headers).json()["exchanges"]
            return [exchange["number"] for exchange in exchanges]

        assert numbers("") == [1, 2, 3, 4]
        assert numbers("scope=a") == [1, 3] == numbers("", **scoped("a"))
        assert numbers("after=2") == [3, 4]
        assert numbers("path=/v1/completions") == [4]
        assert http.get("/_mock/journal?after=x").status_code == 400
        http.delete("/_mock/journal?scope=a")
        assert numbers("") == [2, 4]
        http.delete("/_mock/journal")
        http.post(CHAT, json=ask())
        assert numbers("") == [5]


class TestFaults:
    def test_get_set_delete(self, mock_server_factory: Callable[..., MockServer], ask: Ask) -> None:
        server = mock_server_factory(scenario={"faults": [{"fault": {"status": 503}, "when": {"nth": 1}}]})
        with httpx.Client(base_url=server.base_url) as http:
            first = http.get("/_mock/faults").json()
            assert first["faults"][0]["when"] == {"nth": [1]}
            assert http.post(CHAT, json=ask()).status_code == 503
            shown = http.put("/_mock/faults", json=[{"fault": "empty_choices"}]).json()
            assert shown == http.get("/_mock/faults").json()
            assert http.post(CHAT, json=ask()).json()["choices"] == []
            assert http.put("/_mock/faults", json=shown).json() == shown  # what it shows it takes
            assert http.delete("/_mock/faults").json() == first
            # A plan that comes into force counts calls from the first.
            assert [http.post(CHAT, json=ask()).status_code for _ in range(2)] == [503, 200]
            assert http.put("/_mock/faults", json=[]).json() == {"faults": []}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'[{"fault": "hangg"}]', "faults.0.fault.hangg: unknown field; did you mean hang?"),
            (b'[{"fault": "hang"}, {"fault": "hang", "times": 0}]', "faults.1.times: input should be greater"),
            (b'{"x": 1}', "faults: input should be a valid list"),
            (b"5", "faults: input should be a valid list (it is 5)"),
            (b"[", "not JSON: "),
            (b"\xff", "not JSON: "),
        ],
    )
    def test_a_wrong_plan_changes_nothing(self, http: httpx.Client, body: bytes, message: str) -> None:
        before = http.put("/_mock/faults", json=[{"fault": "close"}]).json()
        answer = http.put("/_mock/faults", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(message)
        assert http.get("/_mock/faults").json() == before


class TestScenario:
    def test_get_set_delete(self, http: httpx.Client, ask: Ask) -> None:
        first = http.get("/_mock/scenario").json()
        assert first["name"] == "default"
        changed = {"unrecognised": "Hello.", "faults": [{"fault": {"status": 500}, "times": 1}]}
        shown = http.put("/_mock/scenario", json=changed).json()
        assert (shown["name"], shown["scenario"]["unrecognised"]) == ("control", "Hello.")
        assert http.post(CHAT, json=ask("x")).status_code == 500
        assert http.post(CHAT, json=ask("x")).json()["choices"][0]["message"]["content"] == "Hello."
        assert http.put("/_mock/scenario", json=shown["scenario"]).json() == shown
        assert http.delete("/_mock/scenario").json() == first

    @pytest.mark.parametrize(
        ("scenario", "field", "message"),
        [
            ({"shapes": {"no_box": 2}}, "shapes.no_box", "shapes.no_box: input should be less than or equal to 1"),
            ({"oracle": {"rules": [{}]}}, "oracle.0.rules.0.verdict", "oracle.0.rules.0.verdict: missing"),
            ({"nonsense": 1}, "nonsense", "nonsense: unknown field; allowed here: oracle"),
            ([], "", "1 validation error"),
        ],
    )
    def test_a_wrong_one_changes_nothing(self, http: httpx.Client, scenario: Any, field: str, message: str) -> None:
        before = http.get("/_mock/scenario").json()
        answer = http.put("/_mock/scenario", json=scenario)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["message"].startswith(message)
        assert not field or error["param"] == field
        assert http.get("/_mock/scenario").json() == before


class TestScopes:
    def test_tests_on_one_server_do_not_see_each_other(self, http: httpx.Client, ask: Ask) -> None:
        http.put("/_mock/scenario", json={"unrecognised": "A"}, headers=scoped("a"))
        http.put("/_mock/faults?scope=b", json=[{"fault": {"status": 503}, "times": 1}])

        def say(**headers: str) -> Any:
            answer = http.post(CHAT, json=ask("x"), headers=headers)
            return (
                answer.status_code if answer.status_code != 200 else answer.json()["choices"][0]["message"]["content"]
            )

        usual = say()
        assert usual.startswith("I can only judge")
        assert (say(**scoped("a")), say(**scoped("b")), say(**scoped("b")), say(**scoped("c"))) == (
            "A", 503, usual, usual,
        )  # fmt: skip
        assert http.get("/_mock/state").json()["scopes"] == ["a", "b"]
        assert http.get("/_mock/state", headers=scoped("b")).json()["requests"] == 2
        # A reset counts from the first again, in its scope only.
        http.post("/_mock/reset", headers=scoped("b"))
        assert http.get("/_mock/state").json()["requests"] == 3
        assert say(**scoped("b")) == 503
        http.delete("/_mock/scenario?scope=a")
        http.delete("/_mock/faults?scope=b")
        http.delete("/_mock/faults?scope=unknown")
        assert (say(**scoped("a")), say(**scoped("b"))) == (usual, usual)

    def test_calls_are_counted_in_each_scope(self, http: httpx.Client, ask: Ask) -> None:
        http.put("/_mock/faults", json=[{"fault": {"status": 503}, "when": {"nth": 1}}])
        statuses = [http.post(CHAT, json=ask(), headers=scoped(scope)).status_code for scope in "abab"]
        assert statuses == [503, 503, 200, 200]


class TestReset:
    def test_reset(self, http: httpx.Client, mock_server: MockServer, pool: ThreadPoolExecutor, ask: Ask) -> None:
        http.put("/_mock/faults", json=[{"fault": {"status": 503}, "when": {"nth": 1}}])
        assert http.post(CHAT, json=ask()).status_code == 503
        http.post("/sleep?level=2")
        waiting = pool.submit(http.post, CHAT, json=ask())
        assert http.get("/_mock/wait?waiting=1").status_code == 200
        http.post("/_mock/reset", headers=scoped("other"))
        assert http.get("/_mock/wait?is_sleeping=true&timeout_s=0").status_code == 200
        http.delete("/_mock/reset")
        assert waiting.result().status_code == 200
        assert not mock_server.engine.is_sleeping
        assert mock_server.requests == []
        assert http.post(CHAT, json=ask()).status_code == 503  # the plan is still there and counts anew

    def test_kill(self, http: httpx.Client, mock_server: MockServer, until: Callable[..., None]) -> None:
        assert http.post("/_mock/kill?restart_after_s=-1").status_code == 400
        assert http.post("/_mock/kill?restart_after_s=0.01").json() == {"status": "dead"}

        def alive() -> bool:
            try:
                return http.get("/_mock/wait?dead=false&timeout_s=0").status_code == 200
            except httpx.TransportError:
                return False

        until(alive)
        assert not mock_server.engine.dead


class TestWait:
    def test_until_it_holds(self, http: httpx.Client, pool: ThreadPoolExecutor, ask: Ask) -> None:
        http.post("/sleep")
        waits = [pool.submit(http.get, f"/_mock/wait?{query}") for query in ("requests=2", "waiting=2&requests=1")]
        woken = pool.submit(http.get, "/_mock/wait?is_sleeping=false&waiting=0&answered=2")
        hanging = [pool.submit(http.post, CHAT, json=ask()) for _ in range(2)]
        assert [wait.result().status_code for wait in waits] == [200, 200]
        assert not woken.done()
        http.post("/wake_up")
        assert woken.result().json()["answered"] == 2
        assert [answer.result().status_code for answer in hanging] == [200, 200]

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("", 200),
            ("running=0&waiting=0&requests=0&is_paused=false&dead=false", 200),
            ("running=1&timeout_s=0", 408),
            ("is_sleeping=true&timeout_s=0.01", 408),
            ("is_sleeping=perhaps", 400),
            ("running=many", 400),
            ("runing=1", 400),
        ],
    )
    def test_answers(self, http: httpx.Client, query: str, status: int) -> None:
        answer = http.get(f"/_mock/wait?{query}")
        assert answer.status_code == status
        assert ("error" in answer.json()) is (status == 400)
