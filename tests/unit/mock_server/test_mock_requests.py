"""Requests read by hand: what is refused, in whose words, and what is said in the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from mock_server.engine.machine import Plan
from mock_server.errors import ApiError, UnreadableBody
from mock_server.judge.answers import Answer
from mock_server.replies.wire import encode, parse
from mock_server.requests.fields import Fields
from mock_server.requests.reading import Limits, read_chat, read_completion
from mock_server.requests.sampling import Sampling, plan

LIMITS = Limits("genrm-demo", 2048)
HI = [{"role": "user", "content": "hi"}]


def refused(read: Callable[[dict[str, Any], Limits], Any], body: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(body, LIMITS)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "kind", "message", "param"),
    [
        ({"max_tokens": 0}, "BadRequestError", "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
         "max_tokens"),
        ({"max_tokens": 9999}, "BadRequestError", "max_tokens=9999 cannot be greater than max_model_len=2048. Please "
         "request fewer output tokens. (parameter=max_tokens, value=9999)", "max_tokens"),
        ({"max_tokens": "many"}, "Bad Request", "1 validation error:\n  {'type': 'int_parsing', 'loc': "
         "'body.max_tokens', 'msg': 'Input should be a valid integer, unable to parse string as an integer', "
         "'input': 'many'}", "body.max_tokens"),
        ({"max_tokens": 4.5}, "Bad Request", "1 validation error:\n  {'type': 'int_from_float', 'loc': "
         "'body.max_tokens', 'msg': 'Input should be a valid integer, got a number with a fractional part', "
         "'input': '4.5'}", "body.max_tokens"),
        ({"n": 0}, "BadRequestError", "n must be at least 1, got 0.", None),
        ({"n": 100000}, "BadRequestError", "n must be at most 16384, got 100000. To increase this limit, set the "
         "VLLM_MAX_N_SEQUENCES environment variable.", None),
        ({"n": 2, "temperature": 0}, "BadRequestError", "n must be 1 when using greedy sampling, got 2.", None),
        ({"temperature": -0.5}, "BadRequestError",
         "temperature must be non-negative, got -0.5. (parameter=temperature, value=-0.5)", "temperature"),
        ({"temperature": 100}, "BadRequestError",
         "temperature must be in [0, 2], got 100.0. (parameter=temperature, value=100.0)", "temperature"),
        ({"temperature": math.nan}, "BadRequestError",
         "temperature must be a finite number, got nan. (parameter=temperature, value=nan)", "temperature"),
        ({"top_p": 0}, "BadRequestError", "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)", "top_p"),
        ({"top_k": -5}, "BadRequestError", "top_k must be 0 (disable), or at least 1, got -5.", None),
        ({"presence_penalty": 3}, "BadRequestError", "presence_penalty must be in [-2, 2], got 3.0.", None),
        ({"stop": ""}, "BadRequestError", "stop cannot contain an empty string.", None),
        ({"stop": 5}, "Bad Request", "2 validation errors:\n  {'type': 'string_type', 'loc': 'body.stop', 'msg': "
         "'Input should be a valid string', 'input': '5'}\n  {'type': 'list_type', 'loc': 'body.stop', 'msg': "
         "'Input should be a valid list', 'input': '5'}", "body.stop"),
        ({"stream_options": {"include_usage": True}}, "BadRequestError", "Stream options can only be defined when "
         "`stream=True`. (parameter=stream_options)", "stream_options"),
        ({"top_logprobs": 2}, "BadRequestError", "when using `top_logprobs`, `logprobs` must be set to true. "
         "(parameter=top_logprobs)", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "BadRequestError", "Requested sample logprobs of 21, which is "
         "greater than max allowed: 20 (parameter=logprobs, value=21)", "logprobs"),
        ({"model": 5}, "Bad Request", "1 validation error:\n  {'type': 'string_type', 'loc': 'body.model', 'msg': "
         "'Input should be a valid string', 'input': '5'}", "body.model"),
        ({"messages": []}, "BadRequestError", "Cannot apply chat template to an empty conversation. Provide at least "
         "one message.", None),
        ({"messages": "x"}, "Bad Request", "1 validation error:\n  {'type': 'list_type', 'loc': 'body.messages', "
         "'msg': 'Input should be a valid list', 'input': 'x'}", "body.messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "BadRequestError",
         "genrm-demo is not a multimodal model", None),
        ({"messages": [{"role": "judge", "content": [{"type": "text"}]}]}, "Bad Request", "1 validation error:\n  "
         "{'type': 'missing', 'loc': 'body.messages.content.0.text', 'msg': 'Field required', "
         "'input': '<dict of 1 items>'}", "body.messages.content.0.text"),
        ({"messages": [{"role": "user", "content": "a\ud800b"}]}, "BadRequestError", "TextEncodeInput must be "
         "Union[TextInputSequence, Tuple[InputSequence, InputSequence]]", None),
        ({"messages": [{"role": "user", "content": "x" * 3000}]}, "BadRequestError", "This model's maximum context "
         "length is 2048 tokens. However, your prompt contains at least 2049 input tokens, which exceeds this limit "
         "even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, "
         "value=2049)", "input_tokens"),
        ({"messages": [{"role": "user", "content": "x" * 2_000_000}]}, "BadRequestError", "This model's maximum "
         "context length is 2048 tokens. However, your prompt contains 2000050 characters (more than 26624 "
         "characters, which is the upper bound for 2048 input tokens). Please reduce the length of the input prompt. "
         "(parameter=input_text, value=2000050)", "input_text"),
    ],
)  # fmt: skip
def test_refused_chat(fields: dict[str, Any], kind: str, message: str, param: str | None) -> None:
    error = refused(read_chat, {"messages": HI, **fields})
    assert (error.status, error.kind, error.message, error.param) == (400, kind, message, param)


@pytest.mark.parametrize(
    ("message", "count", "model", "field"),
    [
        (5, 8, "Developer", ""),
        ({"content": "x"}, 11, "Developer", ".role"),
        ({"role": "user", "content": None}, 19, "Developer", ".content"),
        ({"role": "user", "content": 5}, 22, "Developer", ".content"),
    ],
)
def test_a_message_that_no_model_takes(message: Any, count: int, model: str, field: str) -> None:
    """As many complaints as the real server has, ten of them spelt out (recorded: err_role_missing, chat_content_*)."""
    error = refused(read_chat, {"messages": [message]})
    assert error.param == f"body.messages.0.ChatCompletion{model}MessageParam{field}"
    first, *spelt = error.message.split("\n")
    assert first == f"{count} validation errors:"
    assert len(spelt) == min(count, 11)
    assert count <= 10 or spelt[-1] == f"  ...and {count - 10} more errors"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"),
        ({"prompt": ""}, "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"),
        ({"prompt": "a", "suffix": "b"}, "suffix is only supported for models with FIM completion rendering"),
        ({"prompt": [0] * 2049}, "This model's maximum context length is 2048 tokens."),
        ({"prompt": [[1], "x", 5]}, "7 validation errors:"),
        ({"prompt": 5}, "4 validation errors:"),
        ({"prompt": [1, -1]}, "6 validation errors:\n  {'type': 'greater_than_equal', 'loc': 'body.prompt.1'"),
        ({"prompt": [[1], [None]]}, "6 validation errors:\n  {'type': 'int_type', 'loc': 'body.prompt.0'"),
        ({"prompt_embeds": "x"}, "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"),
    ],
)
def test_refused_completion(body: dict[str, Any], message: str) -> None:
    assert refused(read_completion, body).message.startswith(message)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [(["1", "2"], ["1", "2"]), ([51, "81"], ["Tr"]), ([[51], ["81", 84.0]], ["T", "ru"]), ([True], ['"'])],
)
def test_lax_prompts(prompt: object, texts: list[str]) -> None:
    assert [each.text for each in read_completion({"prompt": prompt}, LIMITS).prompts] == texts


@pytest.mark.parametrize("options", [{"include_usage": "perhaps"}, {"continuous_usage_stats": "perhaps"}])
def test_wrong_stream_options(options: dict[str, Any]) -> None:
    error = refused(read_chat, {"messages": HI, "stream": True, "stream_options": options})
    assert error.param == f"body.stream_options.{next(iter(options))}"


@pytest.mark.parametrize("messages", [None, 5, 1.5, True])
def test_messages_that_nobody_can_go_through(messages: object) -> None:
    error = refused(read_chat, {"messages": messages, "model": 5})
    assert error.message == f"'{type(messages).__name__}' object is not iterable"


@pytest.mark.parametrize(
    ("role", "part", "lines"),
    [
        ("user", {"type": "text"}, ["7 validation errors for ValidatorIterator",
         "0.ChatCompletionContentPartTextParam.text",
         "  Field required [type=missing, input_value={'type': 'text'}, input_type=dict]"]),
        ("assistant", "b", ["2 validation errors for ValidatorIterator", "0.ChatCompletionContentPartTextParam",
         "  Input should be a valid dictionary [type=dict_type, input_value='b', input_type=str]"]),
        ("system", {"text": "a"}, ["1 validation error for ValidatorIterator", "0.type",
         "  Field required [type=missing, input_value={'text': 'a'}, input_type=dict]"]),
        ("developer", {"type": "text", "text": ["é" * 80]}, ["1 validation error for ValidatorIterator", "0.text",
         "  Input should be a valid string [type=string_type, input_value=['ééééééééééé...ééééééééééé'], "
         "input_type=list]"]),
    ],
)  # fmt: skip
def test_parts_that_nobody_can_read(role: str, part: object, lines: list[str]) -> None:
    error = refused(read_chat, {"messages": [{"role": role, "content": [part, part]}]})
    assert (error.kind, error.param) == ("BadRequestError", None)
    assert error.message.split("\n")[: len(lines)] == lines


def test_a_developer_is_templated_as_system() -> None:
    request = read_chat({"messages": [{"role": "developer", "content": "a"}]}, LIMITS)
    assert request.prompts[0].text.startswith("<|im_start|>system\na<|im_end|>")
    assert request.prompts[0].messages == [("developer", "a")]


def test_missing_messages_and_unknown_model() -> None:
    assert refused(read_chat, {"model": "m"}).message.endswith("'input': '<dict of 1 items>'}")
    error = refused(read_chat, {"model": "nope", "messages": HI, "n": 0})
    assert (error.status, error.kind, error.param) == (404, "NotFoundError", "model")
    assert error.message == "The model `nope` does not exist. Valid aliases: genrm-demo."


def test_surprising_but_accepted() -> None:
    request = read_chat(
        {
            "model": "",
            "max_tokens": "4",
            "temperature": "0",
            "stream": "yes",
            "stream_options": {"include_usage": True},
            "n": True,
            "seed": 3.0,
            "unknown": 1,
            "messages": [
                {"role": "judge", "content": [{"type": "text", "text": "a"}, "b"]},
                {"role": "user"},
                {"role": "assistant", "content": None},
            ],
        },
        LIMITS,
    )
    assert request.prompts[0].messages == [("judge", "a\nb"), ("user", ""), ("assistant", "")]
    assert (request.sampling.max_tokens, request.sampling.temperature, request.sampling.n) == (4, 0.0, 1)
    assert (request.sampling.seed, request.stream, request.include_usage) == (3, True, True)


def test_max_completion_tokens_wins() -> None:
    body = {"messages": HI, "max_tokens": 5, "max_completion_tokens": 3}
    assert read_chat(body, LIMITS).sampling.max_tokens == 3


def test_prompts_of_completions() -> None:
    def prompts(prompt: Any) -> list[tuple[str, int]]:
        read = read_completion({"prompt": prompt}, LIMITS).prompts
        return [(entry.messages[0][1], entry.tokens) for entry in read]

    assert prompts("é") == [("é", 2)]
    assert prompts(["a", "bc"]) == [("a", 1), ("bc", 2)]
    assert prompts([51, 81, 84, 68]) == [("True", 4)]
    assert prompts([[51], [81, 84]]) == [("T", 1), ("ru", 2)]
    assert read_completion({"prompt": "a"}, LIMITS).sampling.max_tokens == 16


class TestFields:
    @pytest.mark.parametrize(
        ("read", "value", "kind"),
        [
            ("integer", [1], "int_type"),
            ("number", "hot", "float_parsing"),
            ("number", {}, "float_type"),
            ("boolean", "perhaps", "bool_parsing"),
            ("boolean", [], "bool_type"),
            ("mapping", 5, "model_attributes_type"),
        ],
    )
    def test_wrong_types(self, read: str, value: object, kind: str) -> None:
        fields = Fields({"x": value}, "query")
        assert not getattr(fields, read)("x")
        assert [(problem["type"], problem["loc"]) for problem in fields.problems] == [(kind, "query.x")]

    @pytest.mark.parametrize(
        ("value", "problems"),
        [
            ([5, "a", 6], [("string_type", ""), ("string_type", ".0"), ("string_type", ".2")]),
            (["a"] * 3, []),
            ([*"abcd"], [("string_type", ""), ("too_long", "")]),
            ([1, 2, 3, 4], [("string_type", ""), ("too_long", "")]),
            (5, [("string_type", ""), ("list_type", "")]),
        ],
    )
    def test_at_most_three_strings(self, value: object, problems: list[tuple[str, str]]) -> None:
        fields = Fields({"x": value})
        assert fields.strings("x", most=3) == ([] if problems else value)
        assert [(problem["type"], problem["loc"]) for problem in fields.problems] == [
            (kind, f"body.x{place}") for kind, place in problems
        ]

    def test_words_for_truth(self) -> None:
        assert [Fields({"x": value}).boolean("x") for value in ("on", "1", 1, "OFF", 0, None)] == [
            True, True, True, False, False, False,
        ]  # fmt: skip

    def test_one_of(self) -> None:
        fields = Fields({"mode": "junk"}, "query")
        assert fields.one_of("mode", ("abort", "wait", "keep"), "abort") == "abort"
        assert fields.problems[0] == {
            "type": "literal_error",
            "loc": "query.mode",
            "msg": "Input should be 'abort', 'wait' or 'keep'",
            "input": "junk",
            "ctx": {"expected": "'abort', 'wait' or 'keep'"},
        }


class TestPlan:
    def plan(self, text: str, limit: int = 100, finish: Any = "stop", **fields: Any) -> Plan:
        return plan(Answer(text, finish), Sampling.read(Fields(fields)), limit)

    def test_the_end_is_a_token_too(self) -> None:
        assert self.plan("abc") == Plan(b"abc", 4, "stop")
        assert self.plan("abc", limit=4) == Plan(b"abc", 4, "stop")
        assert self.plan("abc", limit=3) == Plan(b"abc", 3, "length")
        assert self.plan("abc", limit=2) == Plan(b"ab", 2, "length")

    def test_truncated_answers(self) -> None:
        assert self.plan("abc", finish="length") == Plan(b"abc", 3, "length")
        assert self.plan("", finish="length") == Plan(b"", 1, "length")

    def test_stop_strings(self) -> None:
        assert self.plan("xTrue", stop=["True"]) == Plan(b"x", 5, "stop", "True", unseen=b"True")
        assert self.plan("xTrue", stop="True", include_stop_str_in_output=True) == Plan(b"xTrue", 5, "stop", "True")
        assert self.plan("abcdef", stop=["ef", "cd", "bcd"]) == Plan(b"a", 4, "stop", "bcd", unseen=b"bcd")
        assert self.plan("abcdef", limit=3, stop=["cd"]) == Plan(b"abc", 3, "length")
        assert self.plan("abc", stop=["\ud800"]) == Plan(b"abc", 4, "stop")

    def test_ignore_eos_never_ends(self) -> None:
        assert self.plan("ab", limit=8, ignore_eos=True) == Plan(b"ab\nab\nab", 8, "length")

    def test_what_salts_the_draws(self) -> None:
        def salts(**fields: Any) -> list[str]:
            sampling = Sampling.read(Fields(fields))
            return [sampling.salt(0), sampling.salt(1)]

        assert salts() == ["", " choice 1"]
        assert salts(temperature=0, seed=5) == ["", " choice 1"]
        assert salts(temperature=1, seed=5) == salts(seed=5) == ["seed 5", "seed 5 choice 1"]


class TestJson:
    def test_what_only_the_standard_library_reads(self) -> None:
        assert parse(b"") is None
        assert parse(b'\xef\xbb\xbf{"a": "\\ud800"}') == {"a": "\ud800"}
        assert math.isnan(parse(b"[NaN]")[0])

    @pytest.mark.parametrize("data", [b'"\xff\xfe"', b"[" * 3000 + b"]" * 3000])
    def test_unreadable(self, data: bytes) -> None:
        with pytest.raises(UnreadableBody):
            parse(data)

    def test_bad_json(self) -> None:
        with pytest.raises(ApiError) as caught:
            parse(b'{"model": "genrm-demo", ')
        assert caught.value.param == "body.24"
        assert "'ctx': {'error': 'Expecting property name enclosed in double quotes'}}" in caught.value.message

    def test_surrogates_are_escaped(self) -> None:
        assert encode({"a": "\ud800"}) == b'{"a":"\\ud800"}'
