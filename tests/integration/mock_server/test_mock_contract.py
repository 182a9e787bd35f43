"""What clients ask of a judge beyond plain chat, over real sockets: grammars, probabilities, tokens, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client.parser import text_string_to_metric_families

from mock_server import MockServer

PromptOf = Callable[..., str]
Ask = Callable[..., dict[str, object]]
CHAT = "/v1/chat/completions"


@pytest.fixture
def client(mock_server: MockServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=mock_server.base_url + "/v1", api_key="-", max_retries=0) as client:
        yield client


def messages(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


class TestStructuredOutputs:
    @pytest.mark.parametrize(("solution", "verdict"), [("2 + 2 = 4", "True"), ("2 + 2 = 5", "False")])
    def test_the_judges_verdict_is_the_choice(
        self, client: openai.OpenAI, prompt_of: PromptOf, solution: str, verdict: str
    ) -> None:
        chat = client.chat.completions.create(
            model="genrm-demo",
            messages=messages(prompt_of(solution)),
            temperature=0,
            extra_body={"structured_outputs": {"choice": ["True", "False"]}},
        )
        assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == (verdict, "stop")
        assert chat.usage is not None
        assert chat.usage.completion_tokens == len(verdict) + 1

    def test_json_schema(self, client: openai.OpenAI, prompt_of: PromptOf) -> None:
        properties = {"critique": {"type": "string"}, "verdict": {"enum": ["True", "False"]}}
        chat = client.chat.completions.create(
            model="genrm-demo",
            messages=messages(prompt_of("2 + 2 = 5")),
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "v", "schema": {"type": "object", "properties": properties}},
            },
        )
        answer = json.loads(chat.choices[0].message.content or "")
        assert answer["verdict"] == "False"
        assert len(answer["critique"]) > 20

    def test_a_clash_with_a_stop_token(self, http: httpx.Client, ask: Ask) -> None:
        """500 and the server lives; in a stream an error event (contract section 3)."""
        body = ask("x", stop_token_ids=[51], structured_outputs={"choice": ["True"]})
        response = http.post(CHAT, json=body)
        error = {"message": "Internal server error", "type": "InternalServerError", "param": None, "code": 500}
        assert (response.status_code, response.json()) == (500, {"error": error})
        streamed = http.post(CHAT, json={**body, "stream": True})
        events = streamed.text.strip().split("\n\n")
        assert streamed.status_code == 200
        assert json.loads(events[-2].removeprefix("data: ")) == {"error": error}
        assert events[-1] == "data: [DONE]"
        assert http.get("/health").status_code == 200


class TestTokens:
    def test_logprobs(self, client: openai.OpenAI, prompt_of: PromptOf) -> None:
        chat = client.chat.completions.create(
            model="genrm-demo", messages=messages(prompt_of()), temperature=0, logprobs=True, top_logprobs=3
        )
        logprobs = chat.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        tokens = [entry.token for entry in logprobs.content]
        assert "".join(tokens[:-1]) == chat.choices[0].message.content
        assert tokens[-1] == "<|im_end|>"
        assert {len(entry.top_logprobs) for entry in logprobs.content} == {3}

    def test_logprobs_in_a_stream(self, client: openai.OpenAI, prompt_of: PromptOf) -> None:
        stream = client.chat.completions.create(
            model="genrm-demo", messages=messages(prompt_of()), max_tokens=9, temperature=0, logprobs=True, stream=True
        )
        said, tokens = "", []
        for chunk in stream:
            said += chunk.choices[0].delta.content or ""
            logprobs = chunk.choices[0].logprobs
            tokens += [entry.token for entry in (logprobs.content or [] if logprobs else [])]
        assert len(tokens) == 9
        assert "".join(tokens) == said

    def test_logprobs_of_completions(self, client: openai.OpenAI) -> None:
        completion = client.completions.create(model="genrm-demo", prompt="abc", max_tokens=4, logprobs=2, echo=True)
        choice = completion.choices[0]
        assert choice.text.startswith("abc")
        assert choice.logprobs is not None
        assert "".join(choice.logprobs.tokens or []) == choice.text[3:]
        assert choice.logprobs.text_offset == [3, 4, 5, 6]
        streamed = client.completions.create(model="genrm-demo", prompt="abc", max_tokens=4, logprobs=2, stream=True)
        pieces = [chunk.choices[0].logprobs for chunk in streamed]
        assert [token for piece in pieces if piece for token in piece.tokens or []] == choice.logprobs.tokens

    def test_ids(self, http: httpx.Client, ask: Ask) -> None:
        body = ask("hi", max_tokens=2, return_token_ids=True, return_prompt_text=True, prompt_logprobs=1)
        answer = http.post(CHAT, json=body).json()
        assert answer["prompt_text"] == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        assert len(answer["prompt_token_ids"]) == answer["usage"]["prompt_tokens"] == len(answer["prompt_logprobs"])
        said = http.post("/detokenize", json={"tokens": answer["choices"][0]["token_ids"]}).json()["prompt"]
        assert said == answer["choices"][0]["message"]["content"]
        asked = http.post("/tokenize", json={"messages": body["messages"], "return_token_strs": True}).json()
        assert asked["tokens"] == answer["prompt_token_ids"]
        assert asked["token_strs"][0] == "<|im_start|>"
        completion = {"prompt": "hi", "stream": True, "max_tokens": 2, "return_token_ids": True}
        first = json.loads(http.post("/v1/completions", json=completion).text.split("\n\n")[0].removeprefix("data: "))
        assert (first["choices"][0]["prompt_token_ids"], len(first["choices"][0]["token_ids"])) == ([71, 72], 1)

    def test_n_and_the_usage_of_a_stream(self, client: openai.OpenAI, prompt_of: PromptOf) -> None:
        stream = client.chat.completions.create(
            model="genrm-demo",
            messages=messages(prompt_of()),
            n=2,
            seed=1,
            max_tokens=10,
            stream=True,
            stream_options={"include_usage": True},
        )
        *chunks, last = list(stream)
        assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
        assert last.choices == []
        assert last.usage is not None
        assert last.usage.completion_tokens == 20

    @pytest.mark.parametrize(
        ("path", "body", "words"),
        [
            ("/tokenize", {}, "2 validation errors"),
            ("/tokenize", {"prompt": 5}, "string_type"),
            ("/tokenize", {"prompt": "\ud800"}, "TextEncodeInput"),
            ("/tokenize", {"prompt": "x", "model": "nope"}, "does not exist"),
            ("/detokenize", {}, "missing"),
            ("/detokenize", {"tokens": "x"}, "list_type"),
            ("/detokenize", {"tokens": [-1]}, "greater_than_equal"),
            ("/detokenize", {"tokens": [2**63]}, "less_than_equal"),
            ("/detokenize", {"tokens": ["x"]}, "int_parsing"),
        ],
    )
    def test_refused(self, http: httpx.Client, path: str, body: dict[str, object], words: str) -> None:
        response = http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert response.status_code in (400, 404)
        assert words in response.json()["error"]["message"]


def samples(http: httpx.Client) -> dict[str, float]:
    """Every sample of /metrics by its name and the labels that tell it apart."""
    found = {}
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k not in ("engine", "model_name")}
            found[sample.name + "".join(f" {k}={v}" for k, v in sorted(labels.items()))] = sample.value
    return found


class TestMetrics:
    def test_one_request(self, http: httpx.Client, ask: Ask) -> None:
        before = samples(http)
        answer = http.post(CHAT, json=ask(max_tokens=5)).json()
        after = samples(http)
        moved = {name: after[name] - value for name, value in before.items() if after[name] != value}
        prompt = answer["usage"]["prompt_tokens"]
        assert moved["vllm:prompt_tokens_total"] == moved["vllm:prefix_cache_queries_total"] == prompt
        assert moved["vllm:generation_tokens_total"] == 5
        assert moved["vllm:request_success_total finished_reason=length"] == 1
        assert moved["vllm:e2e_request_latency_seconds_count"] == moved["vllm:request_params_n_count"] == 1
        reasons = {name.rpartition("=")[2] for name in before if name.startswith("vllm:request_success_total")}
        assert reasons == {"stop", "length", "abort", "error", "repetition"}
        assert after["http_requests_total handler=/v1/chat/completions method=POST status=2xx"] == 1
        assert "python_info" in " ".join(after)

    def test_two_choices_count_twice_and_refusals_not_at_all(self, http: httpx.Client, ask: Ask) -> None:
        answer = http.post(CHAT, json=ask(n=2, max_tokens=5)).json()
        counted = samples(http)
        assert counted["vllm:request_success_total finished_reason=length"] == 2
        assert counted["vllm:prompt_tokens_total"] == 2 * answer["usage"]["prompt_tokens"]
        assert http.post(CHAT, json=ask(n=0)).status_code == 400
        assert {k: v for k, v in samples(http).items() if k.startswith("vllm:")} == {
            k: v for k, v in counted.items() if k.startswith("vllm:")
        }

    def test_the_sleep_state(self, http: httpx.Client) -> None:
        def state() -> list[float]:
            found = samples(http)
            states = ("awake", "weights_offloaded", "discard_all")
            return [found[f"vllm:engine_sleep_state sleep_state={name}"] for name in states]

        assert state() == [1, 0, 0]
        assert not any(name.startswith("vllm:sleep_mode") for name in samples(http))
        http.post("/pause")
        assert state() == [1, 0, 0]
        for level, expected in ((0, [0, 0, 0]), (1, [0, 1, 0]), (2, [0, 0, 1])):
            http.post(f"/sleep?level={level}")
            assert state() == expected
        http.post("/wake_up?tags=weights")
        assert state() == [0, 0, 1]
        http.post("/wake_up")
        assert state() == [1, 0, 0]
        assert samples(http)["vllm:sleep_mode_operation_duration_seconds_count operation=sleep"] == 3

    def test_the_prefix_cache(self, http: httpx.Client, ask: Ask) -> None:
        def hits(between: str) -> float:
            http.post("/reset_prefix_cache")
            body = ask("x" * 400, max_tokens=1)
            http.post(CHAT, json=body)
            before = samples(http)["vllm:prefix_cache_hits_total"]
            http.post(between)
            http.post("/wake_up")
            http.post(CHAT, json=body)
            return samples(http)["vllm:prefix_cache_hits_total"] - before

        assert hits("/pause?clear_cache=false") == hits("/sleep?level=0") == 384
        assert hits("/pause") == hits("/sleep?level=1") == 0

    def test_other_methods_and_paths(self, http: httpx.Client) -> None:
        for response in (http.delete("/metrics"), http.get("/metrics/more")):
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "vllm:num_requests_running" in response.text


class TestDevMode:
    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ('{"method": "reload_weights"}', 200, '{"results":[null]}'),
            ('{"method": "get_model", "args": ["x", "y"]}', 500, "takes 1 positional argument but 3 were given"),
            ('{"method": "sleep", "args": [1, 2]}', 500, "takes from 1 to 2 positional arguments but 3 were given"),
            ('{"method": "update_config"}', 500, "missing 1 required positional argument"),
            ('{"method": "nope"}', 500, "'CPUWorker' object has no attribute 'nope'"),
            ('{"method": "sleep", "args": 5}', 400, "'int' object is not iterable"),
            ("{}", 400, "Missing 'method' in request body"),
            ("[]", 400, "Request body must be a JSON object"),
            ("{", 400, "JSON decode error"),
        ],
    )
    def test_collective_rpc(self, http: httpx.Client, body: str, status: int, words: str) -> None:
        response = http.post("/collective_rpc", content=body)
        assert response.status_code == status
        assert words in response.text

    def test_release_kv_cache_memory(self, http: httpx.Client) -> None:
        first = http.post("/release_kv_cache_memory")
        http.post("/pause")
        second = http.post("/release_kv_cache_memory")
        assert (first.status_code, second.status_code) == (500, 500)
        assert "requires a completed pause first" in first.text
        assert "not supported on CPU" in second.text
        assert "vary" not in first.headers

    def test_caches(self, slow: httpx.Client, slow_server: MockServer, ask: Ask) -> None:
        assert slow.post("/reset_prefix_cache").json() == {"success": True}
        with slow.stream("POST", CHAT, json=ask(stream=True, ignore_eos=True, max_tokens=400)) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert httpx.post(slow_server.base_url + "/reset_prefix_cache").json() == {"success": False}
            forced = httpx.post(slow_server.base_url + "/reset_prefix_cache?reset_running_requests=true")
            assert forced.json() == {"success": True}
            assert list(lines)[-2] == "data: [DONE]"
        assert slow_server.engine.stats.preemptions == 1
        for cache in ("mm", "encoder"):
            response = slow.post(f"/reset_{cache}_cache")
            assert (response.status_code, response.content) == (200, b"")

    def test_information(self, http: httpx.Client) -> None:
        assert isinstance(http.get("/server_info").json()["vllm_config"], str)
        assert isinstance(http.get("/server_info?config_format=json").json()["vllm_config"], dict)
        assert http.get("/server_info?config_format=xml").status_code == 400
        assert http.get("/get_world_size").json() == {"world_size": 1}
        assert http.get("/weight_info").json() == {"weight_version": "default"}
        assert http.post("/is_scaling_elastic_ep").json() == {"is_scaling_elastic_ep": False}

    def test_preflight(self, http: httpx.Client) -> None:
        headers = {"Origin": "http://x.test", "Access-Control-Request-Method": "POST"}
        response = http.options(CHAT, headers={**headers, "Access-Control-Request-Headers": "x-a"})
        assert (response.status_code, response.text) == (400, "Disallowed CORS origin")
        assert response.headers["access-control-allow-headers"] == "x-a"


def test_answers_that_do_not_repeat(mock_server_factory: Callable[..., MockServer], ask: Ask) -> None:
    server = mock_server_factory(scenario={"repeatable": False, "unrecognised": " ".join(map(str, range(500)))})

    def answers(**fields: object) -> set[str]:
        bodies = [ask("hello", **fields) for _ in range(3)]
        replies = [httpx.post(server.base_url + CHAT, json=body).json() for body in bodies]
        return {reply["choices"][0]["message"]["content"] for reply in replies}

    assert len(answers()) > 1
    assert len(answers(temperature=0)) == len(answers(seed=1)) == 1
    assert answers(seed=1) != answers(seed=2)
    assert answers(seed=1, temperature=0) == answers(seed=2, temperature=0)
