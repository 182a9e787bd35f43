"""SGLang's face over real sockets: what is asked, answered, refused, held back, and what it dies of."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mock_server import MockServer

Factory = Callable[..., MockServer]
Ask = Callable[..., dict[str, Any]]
Until = Callable[..., None]
CHAT = "/v1/chat/completions"
ALL = ["cuda_graph", "kv_cache", "weights"]


@pytest.fixture
def sglang(mock_server_factory: Factory) -> Factory:
    """Make an SGLang server whose /health looks more often than once a second."""

    def make(**settings: Any) -> MockServer:
        return mock_server_factory(**{"profile": "sglang-0.5.23", "health_seconds": 0.01, **settings})

    return make


@pytest.fixture
def server(sglang: Factory) -> MockServer:
    return sglang()


@pytest.fixture
def http(server: MockServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, timeout=60) as client:
        yield client


@pytest.fixture
def slow_server(sglang: Factory) -> MockServer:
    return sglang(tokens_per_second=100)


@pytest.fixture
def slow(slow_server: MockServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=slow_server.base_url, timeout=60) as client:
        yield client


def events(response: httpx.Response) -> list[dict[str, Any]]:
    *lines, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


def state(client: httpx.Client) -> Any:
    return client.get("/_mock/state").json()["engine"]


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


class TestGenerate:
    def test_one(self, http: httpx.Client) -> None:
        body = {"text": "hi", "sampling_params": {"max_new_tokens": 3}, "rid": "mine"}
        answer = http.post("/generate", json=body).json()
        assert (answer["text"], answer["output_ids"]) == ("I c", [40, 220, 66])
        meta = answer["meta_info"]
        assert (meta["id"], meta["finish_reason"]) == ("mine", {"type": "length", "length": 3})
        assert (meta["prompt_tokens"], meta["completion_tokens"], meta["cached_tokens"]) == (2, 3, 0)
        assert http.put("/generate", json={**body, "text": None, "input_ids": [71, 72]}).json()["text"] == "I c"

    def test_a_batch(self, http: httpx.Client) -> None:
        body = {"text": ["hi", "ho"], "sampling_params": {"max_new_tokens": 3, "n": 2, "temperature": 1}}
        answers = http.post("/generate", json=body).json()
        assert len(answers) == 4
        assert len({answer["meta_info"]["id"] for answer in answers}) == 4
        named = http.post("/generate", json={"text": ["hi", "ho"], "rid": "mine"}).json()
        assert [answer["meta_info"]["id"] for answer in named] == ["mine_0", "mine_1"]
        assert named[0]["meta_info"]["finish_reason"] == {"type": "stop", "matched": 256}

    def test_a_stream_repeats_itself(self, http: httpx.Client) -> None:
        body = {"text": ["hi", "ho"], "stream": True, "sampling_params": {"max_new_tokens": 10}}
        texts: dict[int, list[str]] = {0: [], 1: []}
        for event in events(http.post("/generate", json=body)):
            texts[event["index"]].append(event["text"])
        for said in texts.values():
            assert said[-1] == "I can only"
            assert said == sorted(said, key=len)
            assert all(said[-1].startswith(text) for text in said)

    def test_a_batch_of_nothing(self, http: httpx.Client) -> None:
        assert http.post("/generate", json={"text": []}).json() == []

    def test_cached_tokens(self, http: httpx.Client) -> None:
        """Of a prompt that was read before, all but the last."""

        def cached(**more: Any) -> list[int]:
            answers = http.post("/generate", json={"text": ["hello"], **more}).json()
            return [answer["meta_info"]["cached_tokens"] for answer in answers]

        assert [cached(), cached()] == [[0], [4]]
        http.post("/flush_cache")
        assert cached(sampling_params={"n": 2, "temperature": 1}) == [4, 4]

    def test_logprobs(self, http: httpx.Client) -> None:
        body = {"text": "hi", "sampling_params": {"max_new_tokens": 2}, "return_logprob": True, "top_logprobs_num": 2}
        of_prompt = http.post("/generate", json={**body, "logprob_start_len": 0}).json()["meta_info"]
        assert [entry[1] for entry in of_prompt["input_token_logprobs"]] == [71, 72]
        assert (of_prompt["input_token_logprobs"][0][0], of_prompt["input_top_logprobs"][0]) == (None, None)
        meta = http.post("/generate", json={**body, "return_text_in_logprobs": True}).json()["meta_info"]
        assert [entry[1:] for entry in meta["output_token_logprobs"]] == [[40, "I"], [220, " "]]
        assert [len(row) for row in meta["output_top_logprobs"]] == [2, 2]
        assert http.post("/generate", json=body).json()["meta_info"]["output_token_logprobs"][0][2] is None


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


class TestInformation:
    def test_models(self, http: httpx.Client) -> None:
        (card,) = http.get("/v1/models").json()["data"]
        assert list(card) == ["id", "object", "created", "owned_by", "root", "parent", "max_model_len"]
        assert (card["id"], card["owned_by"]) == ("genrm-demo", "sglang")
        assert http.get("/v1/models/genrm-demo").json()["id"] == "genrm-demo"
        unknown = http.get("/v1/models/other")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")

    def test_info(self, http: httpx.Client) -> None:
        info = http.get("/model_info").json()
        assert info == http.get("/get_model_info").json()
        assert (info["served_model_name"], info["is_generation"]) == ("genrm-demo", True)
        info = http.get("/server_info").json()
        assert (info["served_model_name"], info["version"], info["tp_size"]) == ("genrm-demo", "0.5.23", 1)
        assert http.get("/get_server_info").json() == info
        assert http.get("/").json() == "SGLang is running"

    def test_tokens(self, http: httpx.Client) -> None:
        one = http.post("/tokenize", json={"prompt": "hi"}).json()
        assert one == {"tokens": [71, 72], "count": 2, "max_model_len": 32768}
        several = http.post("/v1/tokenize", json={"prompt": ["hi", "h"]}).json()
        assert (several["tokens"], several["count"]) == ([[71, 72], [71]], [2, 1])
        chat = http.post("/tokenize", json={"messages": [{"role": "user", "content": "hi"}]}).json()
        assert (
            chat["count"]
            == http.post(CHAT, json={"messages": [{"role": "user", "content": "hi"}]}).json()["usage"]["prompt_tokens"]
        )
        assert http.post("/detokenize", json={"tokens": [71, 72]}).json() == {"text": "hi"}
        assert http.post("/v1/detokenize", json={"tokens": [[71], [72]]}).json() == {"text": ["h", "i"]}
        assert http.post("/detokenize", json={"tokens": []}).json() == {"text": ""}
        for path, body in (
            ("/tokenize", {}),
            ("/tokenize", {"prompt": 5}),
            ("/detokenize", {}),
            ("/detokenize", {"tokens": "hi"}),
        ):
            assert http.post(path, json=body).status_code == 400

    def test_health_takes_a_second(self, sglang: Factory) -> None:
        server = sglang(health_seconds=1.0)
        started = time.monotonic()
        assert httpx.get(server.base_url + "/health", timeout=60).status_code == 200
        assert time.monotonic() - started >= 1.0

    def test_health_while_paused(self, http: httpx.Client) -> None:
        assert [http.get(path).status_code for path in ("/health", "/health_generate", "/ready", "/ping")] == [200] * 4
        http.post("/pause_generation", json={})
        assert [http.get(path).status_code for path in ("/ready", "/ping")] == [503, 200]
        ill = http.get("/health_generate")
        assert (ill.status_code, ill.content) == (503, b"")
        http.post("/continue_generation", json={})
        # Nobody has looked since.
        assert [http.get(path).status_code for path in ("/ready", "/ping")] == [503, 503]
        assert [http.get(path).status_code for path in ("/health", "/ready", "/ping")] == [200] * 3

    def test_an_http_2_preface(self, server: MockServer, http: httpx.Client) -> None:
        """Routers ask this way whether a worker speaks gRPC."""
        with socket.create_connection((server.host, server.port), timeout=60) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            assert client.recv(1000).startswith(b"HTTP/1.1 400")
        assert http.get("/ready").status_code == 200

    def test_other_origins(self, http: httpx.Client) -> None:
        answer = http.get("/ready", headers={"Origin": "http://x.test"})
        assert answer.headers["access-control-allow-credentials"] == "true"


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


class TestMemory:
    def test_release_and_resume(self, http: httpx.Client, ask: Ask) -> None:
        released = http.post("/release_memory_occupation", json={})
        assert (released.status_code, released.json()) == (200, None)
        assert state(http)["memory"]["released"] == ALL
        assert http.post(CHAT, json=ask()).status_code == 200  # nothing holds it back
        assert http.get("/ready").status_code == 200
        assert http.post("/release_memory_occupation", json={"tags": ["weights"]}).status_code == 200
        assert http.request("GET", "/resume_memory_occupation", json={"tags": ["kv_cache"]}).status_code == 200
        assert state(http)["memory"]["released"] == ["cuda_graph", "weights"]
        assert http.post("/release_memory_occupation", json={"tags": ["coffee"]}).status_code == 200
        http.post("/_mock/reset")
        assert state(http)["memory"]["released"] == []

    def test_what_is_lost(self, sglang: Factory) -> None:
        for backup in (False, True):
            server = sglang(enable_memory_saver=True, enable_weights_cpu_backup=backup)
            with httpx.Client(base_url=server.base_url) as client:
                for path in ("/release_memory_occupation", "/resume_memory_occupation"):
                    client.post(path, json={})
                assert state(client)["memory"]["weights_lost"] is not backup
                assert client.get("/server_info").json()["enable_memory_saver"] is True

    def test_garbage_with_a_gpu(self, sglang: Factory, prompt_of: Callable[..., str]) -> None:
        server = sglang(gpu_semantics=True, enable_memory_saver=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:

            def said() -> str:
                body = {"messages": [{"role": "user", "content": prompt_of()}], "max_tokens": 400}
                return str(client.post(CHAT, json=body).json()["choices"][0]["message"]["content"])

            sense = said()
            client.post("/release_memory_occupation", json={})
            gpu = client.get("/_mock/gpu").json()
            assert (gpu["weights"], gpu["kv_cache"]) == (0, 0)
            client.post("/resume_memory_occupation", json={})
            assert set(said()) == {"!"}
            assert client.post("/update_weights_from_disk", json={}).status_code == 400
            updated = client.post("/update_weights_from_disk", json={"model_path": "judge"})
            assert updated.json()["success"] is True
            assert said() == sense
            client.post("/release_memory_occupation", json={"tags": ["weights"]})
            client.post("/_mock/reset")
            assert said() == sense

    def test_it_dies_of_released_memory_with_a_gpu(self, sglang: Factory, ask: Ask) -> None:
        server = sglang(gpu_semantics=True, enable_memory_saver=True, enable_weights_cpu_backup=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            client.post("/release_memory_occupation", json={"tags": ["kv_cache"]})
            with pytest.raises(httpx.TransportError):
                client.post(CHAT, json=ask())
        assert server.engine.dead

    def test_it_dies_where_there_is_no_room(self, sglang: Factory) -> None:
        server = sglang(gpu_semantics=True, enable_memory_saver=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            client.post("/release_memory_occupation", json={})
            assert client.put("/_mock/gpu", json={"claims": {"trainer": 60}}).status_code == 200
            with pytest.raises(httpx.TransportError):
                client.post("/resume_memory_occupation", json={})
        assert server.engine.dead

    def test_nothing_happens_without_the_memory_saver(self, sglang: Factory, ask: Ask) -> None:
        server = sglang(gpu_semantics=True)
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            client.post("/release_memory_occupation", json={})
            assert client.post(CHAT, json=ask()).status_code == 200
            assert client.get("/_mock/gpu").json()["weights"] == 15
            client.post("/resume_memory_occupation", json={})
            assert client.get("/_mock/state").json()["engine"]["memory"]["weights_lost"] is False

    @pytest.mark.parametrize("content", [b"", b"5", b'{"tags": "weights"}', b'{"tags": [5]}'])
    def test_wrong_bodies(self, http: httpx.Client, content: bytes) -> None:
        for path in ("/release_memory_occupation", "/resume_memory_occupation"):
            headers = {"content-type": "application/json"}
            assert http.post(path, content=content, headers=headers).status_code == 400
        assert http.get("/ready").status_code == 200

    @pytest.mark.parametrize("stream", [False, True])
    def test_it_dies_of_a_release_while_busy(
        self,
        slow_server: MockServer,
        slow: httpx.Client,
        pool: ThreadPoolExecutor,
        until: Until,
        ask: Ask,
        stream: bool,
    ) -> None:
        """Nobody gets an answer: the process is gone."""
        asked = pool.submit(slow.post, CHAT, json=ask(stream=stream))
        until(lambda: slow_server.engine.running == 1)
        with pytest.raises(httpx.TransportError):
            httpx.post(slow_server.base_url + "/release_memory_occupation", json={}, timeout=60)
        with pytest.raises(httpx.TransportError):
            asked.result()
        with pytest.raises(httpx.ConnectError):
            httpx.get(slow_server.base_url + "/ready")
        assert slow_server.engine.dead

    @pytest.mark.parametrize("tags", [None, ["weights"], ["kv_cache", "kv_cache"]])
    def test_it_dies_of_resuming_what_is_not_released(
        self, server: MockServer, http: httpx.Client, tags: list[str] | None
    ) -> None:
        http.post("/release_memory_occupation", json={"tags": ["kv_cache"]})
        with pytest.raises(httpx.TransportError):
            http.post("/resume_memory_occupation", json={"tags": tags})
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.base_url + "/ready")


class TestKeys:
    ASKING = ("/v1/models", "/model_info", "/server_info", "/nowhere")
    OPEN = ("/health", "/health_generate", "/ready", "/_mock/state")

    def statuses(self, server: MockServer, key: str | None) -> tuple[set[int], set[int]]:
        """Of what asks, and of what changes the server."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=server.base_url, headers=headers) as client:
            assert {client.get(path).status_code for path in self.OPEN} == {200}
            asking = {client.get(path).status_code for path in self.ASKING} - {404}
            changing = {client.post("/flush_cache").status_code}
            for path in ("/release_memory_occupation", "/resume_memory_occupation", "/abort_request"):
                changing.add(client.post(path, json={}).status_code)
            for path in ("/pause_generation", "/continue_generation"):
                changing.add(client.post(path, json={}).status_code)
        return asking, changing

    @pytest.mark.parametrize(
        ("keys", "key", "asking", "changing"),
        [
            ({}, None, 200, 200),
            ({"api_key": "a"}, None, 401, 401),
            ({"api_key": "a"}, "a", 200, 200),
            ({"admin_api_key": "b"}, None, 200, 401),
            ({"admin_api_key": "b"}, "b", 200, 200),
            ({"api_key": "a", "admin_api_key": "b"}, "a", 200, 401),
            ({"api_key": "a", "admin_api_key": "b"}, "b", 401, 200),
        ],
        ids=str,
    )
    def test_which_key_opens_what(
        self, sglang: Factory, keys: dict[str, str], key: str | None, asking: int, changing: int
    ) -> None:
        assert self.statuses(sglang(**keys), key) == ({asking}, {changing})

    def test_how_it_is_said(self, sglang: Factory) -> None:
        server = sglang(api_key="a")
        refused = httpx.post(server.base_url + CHAT, content=b"{", headers={"Authorization": "Basic a"})
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
        allowed = httpx.get(server.base_url + "/v1/models", headers={"Authorization": "bearer a"})
        assert allowed.status_code == 200
        assert httpx.options(server.base_url + CHAT).status_code == 405


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
