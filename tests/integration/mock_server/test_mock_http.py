"""HTTP rules of contract section 3, on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mock_server import MockServer

Ask = Callable[..., dict[str, Any]]

CHAT_KEYS = [
    "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage", "prompt_logprobs",
    "prompt_token_ids", "prompt_text", "kv_transfer_params", "ec_transfer_params", "metrics",
]  # fmt: skip


def events(text: str) -> list[Any]:
    """The data of a stream's events; the framing is checked on the way."""
    assert text.endswith("data: [DONE]\n\n")
    lines = text.split("\n\n")[:-2]
    assert all(line.startswith("data: {") and "\n" not in line for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


class TestBodies:
    def test_chat(self, http: httpx.Client, mock_server: MockServer, ask: Ask) -> None:
        answer = http.post("/v1/chat/completions", json=ask(temperature=0), headers={"X-Request-Id": "r-1"})
        assert answer.status_code == 200
        assert answer.headers["server"] == "uvicorn"
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert list(body) == CHAT_KEYS
        assert (body["id"], body["object"], body["model"]) == ("chatcmpl-r-1", "chat.completion", "genrm-demo")
        choice = body["choices"][0]
        assert list(choice) == [
            "index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids", "routed_experts",
        ]  # fmt: skip
        assert list(choice["message"]) == [
            "role", "content", "refusal", "annotations", "audio", "function_call", "reasoning",
        ]  # fmt: skip
        text = choice["message"]["content"]
        assert "boxed{" in text
        usage = body["usage"]
        assert usage["completion_tokens"] == len(text.encode()) + 1
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        [exchange] = mock_server.requests
        assert (exchange.path, exchange.status, exchange.text) == ("/v1/chat/completions", 200, text)
        assert (exchange.request_id, exchange.finish_reasons) == ("chatcmpl-r-1", ["stop"])
        assert exchange.messages[0][0] == "user"

    def test_completions(self, http: httpx.Client, ask: Ask, prompt_of: Callable[..., str]) -> None:
        body = http.post(
            "/v1/completions", json={"prompt": [prompt_of(), "x"], "max_tokens": 999, "request_id": ""}
        ).json()
        assert body["id"] == "cmpl-"
        assert body["object"] == "text_completion"
        assert [choice["index"] for choice in body["choices"]] == [0, 1]
        chat = http.post("/v1/chat/completions", json=ask()).json()
        assert body["choices"][0]["text"] == chat["choices"][0]["message"]["content"]
        short = http.post("/v1/completions", json={"prompt": "x"}).json()
        assert (short["usage"]["completion_tokens"], short["choices"][0]["finish_reason"]) == (16, "length")

    def test_choices_and_seeds(self, http: httpx.Client, ask: Ask) -> None:
        def texts(**fields: Any) -> list[str]:
            body = http.post("/v1/chat/completions", json=ask(**fields)).json()
            return [choice["message"]["content"] for choice in body["choices"]]

        plain, other = texts(n=2)
        assert plain != other
        assert texts(temperature=0) == texts(temperature=0, seed=5) == [plain]
        assert texts(seed=5) == texts(seed=5) != [plain]

    def test_limits_and_stops(self, http: httpx.Client, ask: Ask) -> None:
        body = http.post("/v1/chat/completions", json=ask(max_tokens=5)).json()
        assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 5)
        body = http.post("/v1/chat/completions", json=ask(stop=["\\boxed"])).json()
        assert (body["choices"][0]["finish_reason"], body["choices"][0]["stop_reason"]) == ("stop", "\\boxed")
        assert "boxed" not in body["choices"][0]["message"]["content"]

    def test_prompt_and_answer_share_the_context(self, mock_server_factory: Callable[..., MockServer]) -> None:
        server = mock_server_factory(max_model_len=60)
        body = {"messages": [{"role": "user", "content": "x" * 30}], "max_tokens": 50}
        answer = httpx.post(server.base_url + "/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["total_tokens"] == 60

    def test_models(self, http: httpx.Client) -> None:
        [model] = http.get("/v1/models").json()["data"]
        assert (model["id"], model["max_model_len"], model["owned_by"]) == ("genrm-demo", 32768, "vllm")


class TestStreams:
    def test_frames(self, http: httpx.Client, mock_server: MockServer, ask: Ask) -> None:
        answer = http.post("/v1/chat/completions", json=ask("é漢😀", stream=True))
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["transfer-encoding"] == "chunked"
        first, *middle, last = events(answer.text)
        assert first["choices"] == [
            {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        ]
        assert first["prompt_token_ids"] is None
        assert all("system_fingerprint" not in chunk and "usage" not in chunk for chunk in middle)
        assert last["system_fingerprint"].startswith("vllm-0.32.0-")
        assert last["choices"][0]["finish_reason"] == "stop"
        text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in (*middle, last))
        assert text == mock_server.requests[0].text
        assert len({chunk["id"] for chunk in (first, *middle, last)}) == 1

    def test_characters_are_never_cut(self, mock_server_factory: Callable[..., MockServer], ask: Ask) -> None:
        words = "héllo 漢字 😀 " * 5
        server = mock_server_factory(scenario={"unrecognised": words})
        text = httpx.post(server.base_url + "/v1/chat/completions", json=ask("?", stream=True)).text
        assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in events(text)) == words

    def test_usage(self, http: httpx.Client, ask: Ask) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        text = http.post("/v1/chat/completions", json=ask(stream=True, max_tokens=9, stream_options=options)).text
        *chunks, last = events(text)
        assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [0, 4, 8, 9]
        assert "system_fingerprint" not in chunks[-1]
        assert last["choices"] == []
        assert last["usage"] == {
            "prompt_tokens": last["usage"]["prompt_tokens"],
            "total_tokens": last["usage"]["prompt_tokens"] + 9,
            "completion_tokens": 9,
        }

    def test_choices_take_turns(self, http: httpx.Client, ask: Ask) -> None:
        text = http.post("/v1/chat/completions", json=ask(stream=True, n=2, max_tokens=8)).text
        order = [chunk["choices"][0]["index"] for chunk in events(text)]
        assert order == [0, 1, 0, 1, 0, 1]

    def test_completions(self, http: httpx.Client) -> None:
        chunks = events(http.post("/v1/completions", json={"prompt": "x", "stream": True}).text)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "I can only judge"
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"


class TestErrors:
    def post(self, http: httpx.Client, body: bytes, kind: str = "application/json") -> httpx.Response:
        return http.post("/v1/chat/completions", content=body, headers={"Content-Type": kind})

    @pytest.mark.parametrize(
        ("body", "message", "param"),
        [
            (b"", "'loc': 'body', 'msg': 'Field required', 'input': 'None'}", "body"),
            (b"null", "'loc': 'body', 'msg': 'Field required', 'input': 'None'}", "body"),
            (b"[]", "'input': '<list of 0 items>'}", "body"),
            (b'"x"', "'input': 'x'}", "body"),
            (b"{", "'msg': 'JSON decode error'", "body.1"),
        ],
    )
    def test_bad_bodies(self, http: httpx.Client, body: bytes, message: str, param: str) -> None:
        answer = self.post(http, body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert message in error["message"]
        assert (error["type"], error["param"], error["code"]) == ("Bad Request", param, 400)

    def test_wrong_media_type(self, http: httpx.Client) -> None:
        error = self.post(http, b"{}", "text/plain").json()["error"]
        assert error["message"] == "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"

    def test_not_text(self, http: httpx.Client, mock_server: MockServer) -> None:
        answer = self.post(http, b'{"messages": "\xff"}')
        assert (answer.status_code, answer.json()) == (400, {"detail": "There was an error parsing the body"})
        assert mock_server.requests[0].status == 400

    def test_errors_before_a_stream_are_json(self, http: httpx.Client, mock_server: MockServer, ask: Ask) -> None:
        answer = http.post("/v1/chat/completions", json=ask(model="nope", stream=True))
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")
        assert (mock_server.requests[0].status, mock_server.requests[0].text) == (404, "")

    def test_surrogates_come_back_escaped(self, http: httpx.Client) -> None:
        answer = self.post(http, b'{"model": "\\ud800", "messages": [{"role": "user"}]}')
        assert answer.status_code == 404
        assert b"\\ud800" in answer.content

    @pytest.mark.parametrize(
        ("method", "path", "status", "allow"),
        [
            ("GET", "/nope", 404, None),
            ("GET", "/v1/models/genrm-demo", 404, None),
            ("GET", "/v1/chat/completions", 405, "POST"),
            ("OPTIONS", "/v1/chat/completions", 405, "POST"),
            ("HEAD", "/health", 405, "GET"),
            ("POST", "/v1/models", 405, "GET"),
            ("GET", "/sleep", 405, "POST"),
        ],
    )
    def test_404_and_405(self, http: httpx.Client, method: str, path: str, status: int, allow: str | None) -> None:
        answer = http.request(method, path)
        assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
        assert answer.headers["vary"] == "Origin"
        if method != "HEAD":
            assert answer.json() == {"detail": "Not Found" if status == 404 else "Method Not Allowed"}

    def test_redirect(self, http: httpx.Client) -> None:
        assert http.get("/v1/models/").status_code == 307


class TestSmallEndpoints:
    @pytest.mark.parametrize("path", ["/health", "/ping"])
    def test_empty(self, http: httpx.Client, path: str) -> None:
        answer = http.get(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "0"
        assert "content-type" not in answer.headers

    def test_values(self, http: httpx.Client) -> None:
        assert http.get("/version").json() == {"version": "0.32.0"}
        assert http.get("/load").json() == {"server_load": 0}
        metrics = http.get("/metrics")
        assert 'vllm:num_requests_running{engine="0",model_name="genrm-demo"} 0.0\n' in metrics.text
        assert metrics.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"


class TestApiKey:
    @pytest.fixture
    def keyed(self, mock_server_factory: Callable[..., MockServer]) -> httpx.Client:
        server = mock_server_factory(api_key="secret", request_id_headers=True)
        return httpx.Client(base_url=server.base_url)

    @pytest.mark.parametrize("header", [None, "Bearer wrong", "secret", "Basic secret", "Bearer"])
    def test_guarded(self, keyed: httpx.Client, header: str | None) -> None:
        headers = {"Authorization": header} if header else {}
        with keyed:
            for path in ("/v1/chat/completions", "/v1/nope", "/inference/v1/generate"):
                answer = keyed.post(path, content=b"{", headers=headers)
                assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
                assert "vary" not in answer.headers
                assert len(answer.headers["x-request-id"]) == 32

    @pytest.mark.parametrize("header", ["Bearer secret", "bearer secret"])
    def test_open_with_the_key(self, keyed: httpx.Client, header: str) -> None:
        with keyed:
            headers = {"Authorization": header, "X-Request-Id": "mine"}
            answer = keyed.get("/v1/models", headers=headers)
            assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine")

    def test_not_guarded(self, keyed: httpx.Client, ask: Ask) -> None:
        with keyed:
            assert keyed.post("/sleep").status_code == 200
            assert keyed.post("/wake_up").status_code == 200
            assert keyed.post("/invocations", json=ask()).status_code == 200
            assert keyed.options("/v1/models").status_code == 405


def test_without_dev_mode_there_is_no_sleep(mock_server_factory: Callable[..., MockServer]) -> None:
    server = mock_server_factory(dev_mode=False)
    with httpx.Client(base_url=server.base_url) as client:
        for path in ("sleep", "wake_up", "pause", "resume", "abort_requests", "is_sleeping", "is_paused"):
            for method in ("GET", "POST"):
                answer = client.request(method, f"/{path}")
                assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
        assert client.get("/health").status_code == 200
