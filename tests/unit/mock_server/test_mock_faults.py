"""Fault plans: what they match, when they fire, and what they make of a reply."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

from mock_server import ScenarioError, load_scenario
from mock_server.errors import GenerationError
from mock_server.faults.plan import NOTHING, Call, CallCounts, Chosen, FaultPlan
from mock_server.faults.replies import Reply, altered
from mock_server.prompts import PromptFormat
from mock_server.replies import wire
from mock_server.replies.refusals import NESTED_ERRORS

FORM = PromptFormat()
CHAT = "/v1/chat/completions"


def plan_of(*faults: dict[str, Any], seed: int = 0) -> FaultPlan:
    return FaultPlan(load_scenario({"faults": list(faults)}).faults, seed)


def call(content: str = "hello", path: str = CHAT, scope: str = "", **fields: Any) -> Call:
    body = {"messages": [{"role": "user", "content": content}], **fields}
    return Call.read(path, scope, json.dumps(body).encode(), FORM)


def judged(problem: str, solution: str) -> Call:
    return call(f"[Math Problem]\n{problem}\n[AI Solution]\n{solution}\nYour task is x")


def kinds(plan: FaultPlan, asked: Call, calls: int) -> list[str]:
    """What befalls the first calls of a content; "" for nothing."""
    found = [plan.chosen(asked, attempt).fault for attempt in range(1, calls + 1)]
    return [fault.kind if fault else "" for fault in found]


class TestWhen:
    @pytest.mark.parametrize(
        ("rule", "fires"),
        [
            ({}, "xxxxxx"),
            ({"when": "every"}, "xxxxxx"),
            ({"when": {"nth": [1, 2]}}, "xx...."),
            ({"when": {"nth": 3}}, "..x..."),
            ({"when": {"every": 2}}, ".x.x.x"),
            ({"times": 2}, "xx...."),
            ({"when": {"every": 2}, "times": 2}, ".x.x.."),
            ({"when": {"nth": [2, 4, 5, 5]}, "times": 2}, ".x.x.."),
            ({"when": {"share": 0}}, "......"),
            ({"when": {"share": 1}, "times": 4}, "xxxx.."),
        ],
    )
    def test_calls(self, rule: dict[str, Any], fires: str) -> None:
        found = kinds(plan_of({**rule, "fault": "close"}), call(), len(fires))
        assert "".join("x" if kind else "." for kind in found) == fires

    def test_a_share_is_drawn_from_seed_content_and_call(self) -> None:
        plan = plan_of({"when": {"share": 0.3}, "fault": "reset"})
        found = [kinds(plan, call(str(n)), 5) for n in range(400)]
        assert 0.25 < statistics.mean(bool(kind) for row in found for kind in row) < 0.35
        assert found == [kinds(plan, call(str(n)), 5) for n in range(400)]
        other = plan_of({"when": {"share": 0.3}, "fault": "reset"}, seed=1)
        assert found != [kinds(other, call(str(n)), 5) for n in range(400)]

    def test_a_share_with_times(self) -> None:
        plan = plan_of({"when": {"share": 0.5}, "times": 2, "fault": "reset"})
        free = plan_of({"when": {"share": 0.5}, "fault": "reset"})
        for n in range(20):
            every = kinds(free, call(str(n)), 30)
            expected = [kind if every[:at].count("reset") < 2 else "" for at, kind in enumerate(every)]
            assert kinds(plan, call(str(n)), 30) == expected

    def test_the_first_that_fires_wins_and_latency_passes_on(self) -> None:
        plan = plan_of(
            {"fault": {"latency": 0.5}},
            {"fault": {"latency": {"seconds": 0.25}}, "when": {"nth": 1}},
            {"fault": "close", "times": 1},
            {"fault": "hang", "times": 2},
        )
        first, second, third = (plan.chosen(call(), attempt) for attempt in (1, 2, 3))
        assert (first.delay, first.fault and first.fault.kind) == (0.75, "close")
        assert [note["fault"] for note in first.notes] == [0, 1, 2]
        assert first.notes[2] == {"fault": 2, "kind": "close", "call": 1, "why": "call 1: every 1, times 1"}
        assert (second.delay, second.fault and second.fault.kind) == (0.5, "hang")
        assert (third.delay, third.fault) == (0.5, None)
        assert plan_of({"fault": "close", "times": 1}).chosen(call(), 2) == NOTHING == Chosen()

    @pytest.mark.parametrize(
        ("latency", "mean", "deviation"),
        [
            ({"seconds": 1, "jitter": 0.6}, 1, 0.6 / 3**0.5),
            ({"seconds": 1, "jitter": 0.1, "distribution": "normal"}, 1, 0.1),
            ({"seconds": 1, "distribution": "normal"}, 1, 0),
            ({"seconds": 1, "distribution": "exponential"}, 1, 1),
        ],
    )
    def test_latencies(self, latency: dict[str, Any], mean: float, deviation: float) -> None:
        plan = plan_of({"fault": {"latency": latency}})
        delays = [plan.chosen(call(str(n)), 1).delay for n in range(1000)]
        assert min(delays) >= 0
        assert statistics.mean(delays) == pytest.approx(mean, abs=0.1)
        assert statistics.pstdev(delays) == pytest.approx(deviation, abs=0.1)

    def test_counts(self) -> None:
        counts = CallCounts()
        a, b = call("a"), call("a", scope="s")
        assert [counts.next(c) for c in (a, a, b, call("b"), a)] == [1, 2, 1, 1, 3]
        counts.clear("s")
        assert [counts.next(c) for c in (a, b)] == [4, 1]
        counts.clear()
        assert counts.next(a) == 1


class TestMatch:
    @pytest.mark.parametrize(
        ("match", "asked", "fits"),
        [
            ({}, call(), True),
            ({}, call(path="/sleep"), False),
            ({"path": "/sleep"}, call(path="/sleep"), True),
            ({"path": "/v1/completions"}, call(), False),
            ({"content": "hell"}, call(), True),
            ({"content": ""}, call(), True),
            ({"content": "Hell"}, call(), False),
            ({"content": {"regex": "^h.llo$"}}, call("h\u00a6ello\n"), True),
            ({"content": "a b"}, call("a\n\u00a6 b"), True),
            ({"problem": "eggs"}, judged("3 eggs", "2 ducks"), True),
            ({"problem": "ducks"}, judged("3 eggs", "2 ducks"), False),
            ({"solution": {"regex": "duck.$"}}, judged("3 eggs", "2 ducks"), True),
            ({"problem": "eggs", "solution": "eggs"}, judged("3 eggs", "2 ducks"), False),
            ({"problem": "eggs"}, call("eggs"), False),
            ({"scope": "s"}, call(scope="s"), True),
            ({"scope": "s"}, call(), False),
            ({"stream": True}, call(stream=True), True),
            ({"stream": True}, call(), False),
        ],
    )
    def test_match(self, match: dict[str, Any], asked: Call, fits: bool) -> None:
        plan = plan_of({"match": match, "fault": "close"})
        assert (plan.matching(asked) == [0]) is fits
        assert plan.covers(asked.path) or not fits

    def test_what_exists_for_streams_only(self) -> None:
        plan = plan_of({"fault": "done_missing"})
        assert (plan.matching(call()), plan.matching(call(stream=True))) == ([], [0])

    def test_covers(self) -> None:
        assert not plan_of().covers(CHAT)
        assert not plan_of({"match": {"path": "/sleep"}, "fault": "close"}).covers(CHAT)

    @pytest.mark.parametrize(
        ("body", "content"),
        [
            (b'{"prompt": "a"}', "a"),
            (b'{"prompt": ["a", "b"]}', "a b"),
            (b'{"prompt": [1, 2]}', ""),
            (b'{"messages": [{"content": [{"text": "a"}, "b", {"x": 1}]}, {"content": null}, 5]}', "a b"),
            (b'{"messages": 5, "prompt": "p"}', "p"),
            (b'{"prompt": "a", "x": NaN}', "a"),
            (b"[]", ""),
            (b"{", ""),
            (b"\xff", ""),
            (b"[" * 100_000, ""),
            (b"", ""),
        ],
    )
    def test_any_body(self, body: bytes, content: str) -> None:
        assert Call.read("/x", "", body, FORM).texts == ("", "", content)

    def test_the_same_content(self) -> None:
        def key(body: bytes, path: str = "/x", query: bytes = b"") -> str:
            return Call.read(path, "", body, FORM, query).key

        same = {key(b'{"a": 1, "b": 2}'), key(b'{"b":2,"a":1}'), key(b'{"a": 1, "b": 2, "request_id": "r"}')}
        assert len(same) == 1
        others = {key(b'{"a": 1}'), key(b"", query=b"q"), key(b""), key(b"", "/y"), key(b"["), key(b'{"a": "\\ud800"}')}
        assert len(others | same) == 7


class TestSchema:
    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ({"fault": {}}, "faults.0.fault: give exactly one of: status, latency, hang"),
            ({"fault": {"hang": True, "close": True}}, "faults.0.fault: give exactly one of"),
            ({"fault": "restet"}, "faults.0.fault.restet: unknown field; did you mean reset?"),
            ({}, "faults.0.fault: missing"),
            ({"fault": {"status": 200}}, "faults.0.fault.status.code: input should be greater than or equal to 400"),
            ({"fault": {"hang": False}}, "faults.0.fault.hang: input should be True"),
            ({"fault": "hang", "when": {"nth": [1], "share": 0.5}}, "faults.0.when: give one of: nth, every, share"),
            (
                {"fault": "hang", "when": {"nth": [0]}},
                "faults.0.when.nth.0: input should be greater than or equal to 1",
            ),
            ({"fault": "hang", "times": 0}, "faults.0.times: input should be greater than or equal to 1"),
            ({"fault": "hang", "match": {"path": "sleep"}}, "faults.0.match.path: string should match pattern"),
            (
                {"fault": "hang", "match": {"contents": "x"}},
                "faults.0.match.contents: unknown field; did you mean conte",
            ),
            ({"fault": {"latency": {"seconds": -1}}}, "faults.0.fault.latency.seconds: input should be greater than"),
        ],
    )
    def test_mistakes(self, fault: dict[str, Any], message: str) -> None:
        with pytest.raises(ScenarioError) as caught:
            plan_of(fault)
        assert str(caught.value).startswith(f"scenario: {message}")

    @pytest.mark.parametrize(
        ("short", "long"),
        [
            ("reset", {"reset": {"after": None}}),
            ("engine_death", {"engine_death": {}}),
            ({"drip": True}, {"drip": {"bytes": 1, "seconds": 0.1}}),
            ({"status": 503}, {"status": {"code": 503}}),
            ({"latency": 2}, {"latency": {"seconds": 2}}),
            ({"finish_reason": "abort"}, {"finish_reason": {"reason": "abort"}}),
            ("content_type", {"content_type": "text/html"}),
        ],
    )
    def test_short_forms(self, short: Any, long: Any) -> None:
        assert plan_of({"fault": short}).faults == plan_of({"fault": long}).faults


def chunk(text: str | None, finish_reason: str | None = None, **more: Any) -> bytes:
    return wire.event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}], **more})


class TestReplies:
    WHOLE = Reply(
        200,
        [(b"content-type", b"application/json"), (b"content-length", b"0")],
        wire.encode(
            {
                "choices": [{"message": {"content": "twelve chars"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 13, "total_tokens": 23},
            }
        ),
    )
    STREAM = Reply(
        200,
        [(b"content-type", b"text/event-stream; charset=utf-8")],
        b"".join([chunk(""), chunk("twelve"), chunk(" chars"), chunk("", "stop"), wire.DONE]),
    )

    def fault(self, kind: Any) -> Any:
        return plan_of({"fault": kind}).faults[0].fault

    def changed(self, reply: Reply, kind: Any) -> bytes:
        body = altered(reply, self.fault(kind)).body
        assert altered(reply, self.fault(kind)).body == body
        return body

    def test_whole(self) -> None:
        short = json.loads(self.changed(self.WHOLE, {"finish_reason": "length"}))
        assert short["choices"] == [{"message": {"content": "twelve"}, "finish_reason": "length", "stop_reason": None}]
        assert short["usage"] == {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16}
        assert json.loads(self.changed(self.WHOLE, "empty_choices"))["choices"] == []
        assert json.loads(self.changed(self.WHOLE, "null_content"))["choices"][0]["message"] == {"content": None}
        assert json.loads(self.changed(self.WHOLE, "error_event"))["error"]["code"] == 500
        with pytest.raises(ValueError, match="line 1"):
            json.loads(self.changed(self.WHOLE, "invalid_json"))
        wrong = altered(self.WHOLE, self.fault("invalid_json"))
        assert wrong.header(b"content-length") == b"%d" % len(wrong.body)

    def test_completions_have_their_text_elsewhere(self) -> None:
        body = wire.encode({"choices": [{"text": "abcd", "finish_reason": "stop"}]})
        reply = Reply(200, [], body)
        assert json.loads(self.changed(reply, "null_content"))["choices"][0]["text"] is None
        short = json.loads(self.changed(reply, {"finish_reason": {"reason": "abort", "keep": 0.25}}))
        assert short["choices"][0]["text"] == "a"

    def test_stream(self) -> None:
        done = wire.DONE
        assert self.changed(self.STREAM, "done_missing") == self.STREAM.body.removesuffix(done)
        error = wire.event(NESTED_ERRORS.event(GenerationError()))
        assert self.changed(self.STREAM, "error_event") == chunk("") + chunk("twelve") + error + done
        assert self.changed(self.STREAM, "null_content").count(b'"content":null') == 4
        assert self.changed(self.STREAM, "empty_choices").count(b'"choices":[]') == 4
        assert b'" chars' not in self.changed(self.STREAM, "invalid_json")
        assert self.changed(self.STREAM, "invalid_json").endswith(done)

    @pytest.mark.parametrize(("keep", "texts"), [(0.5, ["twelve"]), (0.75, ["twelve", " ch"]), (0, []), (1, None)])
    def test_a_stream_that_ends_for_another_reason(self, keep: float, texts: list[str] | None) -> None:
        body = self.changed(self.STREAM, {"finish_reason": {"reason": "abort", "keep": keep}})
        events = [json.loads(event[6:]) for event in body.decode().split("\n\n") if event not in ("data: [DONE]", "")]
        choices = [event["choices"][0] for event in events]
        said = [choice["delta"]["content"] for choice in choices]
        assert [text for text in said if text] == (["twelve", " chars"] if texts is None else texts)
        assert said[0] == ""  # the role's
        assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["abort"]

    def test_what_is_left_alone(self) -> None:
        error = Reply(400, [], b'{"error": {}}')
        assert altered(error, self.fault("invalid_json")) is error
        assert json.loads(self.changed(Reply(200, [], b'{"a": 1}'), "empty_choices")) == {"a": 1}
        assert self.changed(self.WHOLE, "cut") == self.WHOLE.body
        assert self.changed(self.STREAM, "cut") == self.STREAM.body
