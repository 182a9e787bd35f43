"""Chat completions of the SGLang face: fields, streams, log probabilities."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mock_server import MockServer
from sglang_support import CHAT, Ask, Factory, events


class TestCompletions:
    def test_the_same_words_as_on_vllm(self, http: httpx.Client, mock_server: MockServer, ask: Ask) -> None:
        ours = http.post(CHAT, json=ask(n=3, temperature=1, seed=5)).json()["choices"]
        theirs = httpx.post(mock_server.base_url + CHAT, json=ask(n=3, temperature=1, seed=5)).json()["choices"]
        assert [choice["message"]["content"] for choice in ours] == [choice["message"]["content"] for choice in theirs]

    def test_chat(self, http: httpx.Client, ask: Ask) -> None:
        body = http.post(CHAT, json=ask(model="whatever", nonsense=1)).json()
        assert list(body) == ["id", "object", "created", "model", "choices", "usage", "metadata"]
        assert (len(body["id"]), int(body["id"], 16) >= 0) == (32, True)
        assert body["model"] == "whatever"
        (choice,) = body["choices"]
        assert list(choice) == ["index", "message", "logprobs", "finish_reason", "matched_stop"]
        assert list(choice["message"]) == ["role", "content", "reasoning_content"]
        assert (choice["finish_reason"], choice["matched_stop"]) == ("stop", 256)
        assert body["usage"]["prompt_tokens_details"] is None
        assert body["usage"]["reasoning_tokens"] == 0
        versions = [{"version": "default", "start": 0, "end": body["usage"]["completion_tokens"]}]
        assert body["metadata"] == {"weight_version": "default", "weight_versions": versions}

    def test_what_ends_an_answer(self, http: httpx.Client, ask: Ask) -> None:
        def end(**fields: Any) -> tuple[str, str, Any]:
            choice = http.post(CHAT, json=ask("hi", **fields)).json()["choices"][0]
            return choice["message"]["content"], choice["finish_reason"], choice["matched_stop"]

        assert end(max_tokens=5) == ("I can", "length", None)
        assert end(stop="can") == ("I ", "stop", "can")
        assert end(stop="can", no_stop_trim=True) == ("I can", "stop", "can")
        assert end(stop_token_ids=[66]) == ("I ", "stop", 66)
        assert end(regex="Yes[.]") == ("Yes.", "stop", 256)

    @pytest.mark.parametrize("tokens_per_second", [None, 500])
    def test_a_stream(self, sglang: Factory, ask: Ask, tokens_per_second: int | None) -> None:
        with httpx.Client(base_url=sglang(tokens_per_second=tokens_per_second).base_url, timeout=60) as client:
            whole = client.post(CHAT, json=ask(n=2, temperature=1, max_tokens=30)).json()
            asked = ask(n=2, temperature=1, max_tokens=30, stream=True, stream_options={"include_usage": True})
            *chunks, usage = events(client.post(CHAT, json=asked))
        assert usage["choices"] == []
        assert usage["usage"] == whole["usage"]
        said, roles, ends = ["", ""], [0, 0], [0, 0]
        for chunk in chunks:
            assert "usage" not in chunk
            (choice,) = chunk["choices"]
            delta = choice["delta"]
            assert delta["reasoning_content"] is None
            said[choice["index"]] += delta.get("content", "")
            roles[choice["index"]] += delta.get("role") == "assistant"
            ends[choice["index"]] += choice["finish_reason"] == "length"
        assert (roles, ends) == ([1, 1], [1, 1])
        assert said == [choice["message"]["content"] for choice in whole["choices"]]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == ["length", "length"]

    def test_a_grammar_that_cannot_be_compiled(self, http: httpx.Client, ask: Ask) -> None:
        """A stream has begun by then."""
        whole = http.post(CHAT, json=ask(regex="("))
        assert (whole.status_code, whole.json()["type"]) == (400, "BadRequestError")
        (error,) = events(http.post(CHAT, json=ask(regex="(", stream=True)))
        assert (error["error"]["type"], error["error"]["message"]) == ("BAD_REQUEST", whole.json()["message"])

    def test_the_last_word_is_the_users(self, http: httpx.Client) -> None:
        """An assistant that is not to be continued is taken for one."""
        said = [{"role": "user", "content": "a"}, {"role": "Assistant", "content": "b"}]
        asked = [said[0], {"role": "user", "content": "b"}]
        tokens = [http.post("/tokenize", json={"messages": messages}).json()["count"] for messages in (said, asked)]
        assert tokens[0] == tokens[1]
        continued = http.post(CHAT, json={"messages": said, "continue_final_message": True}).json()
        assert continued["usage"]["prompt_tokens"] < tokens[0]

    def test_a_name_of_ones_own(self, http: httpx.Client, ask: Ask) -> None:
        assert http.post(CHAT, json=ask(rid="mine")).json()["id"] == "mine"
        assert {chunk["id"] for chunk in events(http.post(CHAT, json=ask(rid="mine", stream=True)))} == {"mine"}
        assert http.post(CHAT, json=ask(rid="mine", n=2, temperature=1)).json()["id"] != "mine"

    def test_logprobs(self, http: httpx.Client, ask: Ask) -> None:
        (choice,) = http.post(CHAT, json=ask("hi", max_tokens=2, logprobs=True, top_logprobs=2)).json()["choices"]
        first, second = choice["logprobs"]["content"]
        assert (first["token"], first["bytes"], len(first["top_logprobs"])) == ("I", [73], 2)
        assert (second["token"], second["bytes"]) == (" ", [32])
        body = {"prompt": "hi", "max_tokens": 2, "logprobs": 1}
        found = http.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
        assert (found["text_offset"], found["tokens"], len(found["top_logprobs"])) == ([-1, -1], ["I", " "], 2)

    def test_text_completions(self, http: httpx.Client) -> None:
        asked = {"prompt": ["hi", "ho"], "max_tokens": 5, "echo": True}
        whole = http.post("/v1/completions", json=asked).json()
        assert [choice["text"] for choice in whole["choices"]] == ["hiI can", "hoI can"]
        assert whole["object"] == "text_completion"
        chunks = events(http.post("/v1/completions", json={**asked, "stream": True}))
        said = ["", ""]
        for chunk in chunks:
            said[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        assert said == ["hiI can", "hoI can"]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == ["length", "length"]
        of_ids = http.post(
            "/v1/completions", json={"prompt": [71, 72], "max_tokens": 5, "return_token_ids": True}
        ).json()
        assert of_ids["choices"][0]["prompt_token_ids"] == [71, 72]
        assert of_ids["choices"][0]["token_ids"] == [40, 220, 66, 64, 77]
        *_, usage = events(
            http.post("/v1/completions", json={**asked, "stream": True, "stream_options": {"include_usage": True}})
        )
        assert usage["usage"] == {
            "prompt_tokens": 4,
            "total_tokens": 14,
            "completion_tokens": 10,
            "reasoning_tokens": 0,
        }
