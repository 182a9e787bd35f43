"""What SGLang refuses, and in which words."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sglang_support import CHAT, Ask, Factory


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "kind", "words"),
        [
            ({"messages": None}, "Bad Request", "Input should be a valid list"),
            ({"messages": ["hi"]}, "Bad Request", "Input should be a valid dictionary"),
            ({"messages": [{"role": "nobody", "content": "hi"}]}, "Bad Request", "(case-insensitive)"),
            ({"messages": [{"content": "hi"}]}, "Bad Request", "Field required"),
            ({"messages": [{"role": "user"}]}, "Bad Request", "Field required"),
            ({"messages": [{"role": "user", "content": 5}]}, "Bad Request", "Input should be a valid string"),
            ({"messages": [{"role": "user", "content": [{"type": "poem"}]}]}, "Bad Request", "Input should be 'text'"),
            ({"messages": [{"role": "user", "content": [7]}]}, "Bad Request", "valid dictionary"),
            ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "Bad Request", "valid string"),
            ({"n": None}, "Bad Request", "Input should be a valid integer"),
            ({"temperature": "hot"}, "Bad Request", "unable to parse string as a number"),
            ({"response_format": {"type": "poem"}}, "Bad Request", "Input should be 'text', 'json_object'"),
            ({"messages": []}, "BadRequestError", "Messages cannot be empty."),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
                "BadRequestError",
                "Model only supports text input; received unsupported content type 'image_url'.",
            ),
            ({"max_tokens": 3000}, "BadRequestError", "max_completion_tokens is too large: 3000."),
            ({"max_tokens": 2000}, "BadRequestError", "Requested token count exceeds"),
            ({"temperature": -1}, "BadRequestError", "temperature must be a non-negative finite number, got -1.0."),
            ({"top_p": 0}, "BadRequestError", "top_p must be in (0, 1], got 0.0."),
            ({"top_k": 0}, "BadRequestError", "top_k must be -1 (disable) or at least 1, got 0."),
            ({"min_p": 2}, "BadRequestError", "min_p must be in [0, 1], got 2.0."),
            ({"presence_penalty": 3}, "BadRequestError", "presence_penalty must be in [-2, 2], got 3.0."),
            ({"repetition_penalty": 0}, "BadRequestError", "repetition_penalty must be in (0, 2]"),
            ({"min_tokens": -1}, "BadRequestError", "min_new_tokens must be in [0, max_new_tokens], got -1."),
            ({"min_tokens": 9, "max_tokens": 5}, "BadRequestError", "min_new_tokens must be in [0, max_new_tokens(5)]"),
            ({"logit_bias": {"9999": 1}}, "BadRequestError", "logit_bias must has keys in [0, 258], got 9999."),
            ({"n": 0}, "BadRequest", "range() arg 3 must not be zero"),
            ({"regex": "("}, "BadRequestError", "Failed to compile regex grammar"),
            ({"ebnf": "root ::="}, "BadRequestError", "Failed to compile ebnf grammar"),
            ({"regex": "a", "response_format": {"type": "json_object"}}, "BadRequestError", "Only one of json_schema"),
            ({"response_format": {"type": "json_schema"}}, "BadRequestError", "schema_ is required"),
        ],
        ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
    )
    def test_chat(self, sglang: Factory, ask: Ask, fields: dict[str, Any], kind: str, words: str) -> None:
        server = sglang(max_model_len=2048)
        answer = httpx.post(server.base_url + CHAT, json={**ask(), **fields})
        error = answer.json()
        assert answer.status_code == error["code"] == 400
        assert list(error) == ["object", "message", "type", "param", "code"]
        assert (error["object"], error["type"], error["param"]) == ("error", kind, None)
        assert words in error["message"]

    def test_a_prompt_too_long(self, sglang: Factory) -> None:
        server = sglang(max_model_len=100)
        for path, body in (
            (CHAT, {"messages": [{"role": "user", "content": "x" * 200}]}),
            ("/v1/completions", {"prompt": "x" * 200}),
            ("/generate", {"text": "x" * 200}),
        ):
            for stream in (False, True):
                answer = httpx.post(server.base_url + path, json={**body, "stream": stream})
                # The headers of a stream of /generate do not wait for anything.
                assert answer.status_code == (200 if stream and path == "/generate" else 400)
                assert "is longer than the model's context length (100 tokens)." in answer.text

    @pytest.mark.parametrize("content", [b"", b"{", b'{"a": NaN}', b"\xff"])
    def test_bodies(self, http: httpx.Client, content: bytes) -> None:
        for path in (CHAT, "/generate", "/pause_generation"):
            answer = http.post(path, content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["type"]) == (400, "Bad Request")

    def test_no_object(self, http: httpx.Client) -> None:
        for path, status in ((CHAT, 500), ("/v1/completions", 400), ("/generate", 400), ("/abort_request", 400)):
            answer = http.post(path, json=[])
            assert answer.status_code == status
            assert (answer.text == "Internal Server Error") is (status == 500)

    def test_content_type(self, http: httpx.Client) -> None:
        answer = http.post(CHAT, content=b"{}", headers={"content-type": "text/plain"})
        assert answer.status_code == 400
        assert "Only 'application/json' is allowed" in answer.json()["message"]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"input_ids": []},
            {"text": 5},
            {"text": "hi", "sampling_params": {"nonsense": 1}},
            {"text": "hi", "sampling_params": {"ignore_eos": 1.5}},
            {"text": "hi", "sampling_params": {"temperature": True}},
            {"text": "hi", "sampling_params": {"top_k": []}},
            {"text": "hi", "sampling_params": {"stop": 5}},
            {"text": "hi", "sampling_params": 5},
            {"text": "hi", "sampling_params": {"n": "x"}},
        ],
        ids=json.dumps,
    )
    def test_generate(self, http: httpx.Client, body: dict[str, Any]) -> None:
        assert http.post("/generate", json=body).status_code == 400

    @pytest.mark.parametrize(
        "body", [{}, {"prompt": 5}, {"prompt": []}, {"prompt": "a", "max_tokens": 0}], ids=json.dumps
    )
    def test_completions(self, http: httpx.Client, body: dict[str, Any]) -> None:
        assert http.post("/v1/completions", json=body).status_code == 400

    def test_lone_surrogates(self, http: httpx.Client) -> None:
        answer = http.post(CHAT, content=b'{"messages": [{"role": "user", "content": "\\ud800"}]}')
        assert answer.status_code == 400

    def test_paths(self, http: httpx.Client) -> None:
        assert http.get("/nowhere").json() == {"detail": "Not Found"}
        assert http.get("/flush").status_code == 404
        refused = http.delete("/flush_cache")
        assert (refused.status_code, refused.json()) == (405, {"detail": "Method Not Allowed"})
        for path in ("/sleep", "/metrics", "/version"):
            assert http.post(path).status_code == 404
