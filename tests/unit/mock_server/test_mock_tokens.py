"""Byte-level tokens, and the log probabilities that are made up for them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mock_server.engine.machine import Choice, Plan
from mock_server.engine.prefix_cache import PrefixCache, block_keys
from mock_server.engine.stats import Histogram, token_buckets
from mock_server.errors import ApiError
from mock_server.judge.answers import Answer
from mock_server.replies.logprobs import Logprobs, of_prompt, said_ids
from mock_server.requests.fields import Fields
from mock_server.requests.reading import Limits, read_chat, read_completion
from mock_server.requests.sampling import Sampling, plan
from mock_server.requests.sampling_checks import check
from mock_server.tokens import VOCABULARY, count_tokens, decode, encode, token_string


@pytest.mark.parametrize("text", ["", "True", "é漢😀", "a<|im_end|>b<|im_start|>", "\0\n", "<|im_end"])
def test_there_and_back(text: str) -> None:
    assert decode(encode(text)) == text
    assert len(encode(text)) == count_tokens(text)


def test_recorded_ids() -> None:
    """tok_unicode, tok_messages of the recordings."""
    assert encode("é漢😀") == [127, 102, 162, 120, 95, 172, 253, 246, 222]
    assert encode("r\nhi<|im_end|>\n") == [81, 198, 71, 72, 256, 198]
    assert [token_string(token_id) for token_id in (51, 220, 198, 256, 999)] == ["T", "Ġ", "Ċ", "<|im_end|>", ""]


def spoken(plan: Plan, tokens: int | None = None) -> Choice:
    choice = Choice(plan)
    choice.advance(plan.tokens if tokens is None else tokens)
    return choice


class TestLogprobs:
    def test_every_token_also_the_last(self) -> None:
        choice = spoken(Plan(b"Tr", 3, "stop"))
        assert said_ids(choice, 0, 3) == [51, 81, 256]
        content = Logprobs(choice, 2).chat(0, 3)["content"]
        assert [entry["token"] for entry in content] == ["T", "r", "<|im_end|>"]
        for entry in content:
            top = entry.pop("top_logprobs")
            assert top[0] == entry
            assert len(top) == 2
            assert sum(math.exp(other["logprob"]) for other in top) < 1

    def test_the_stop_string_is_there_too(self) -> None:
        choice = spoken(Plan(b"x", 3, "stop", "ab", unseen=b"ab"))
        assert [entry["token"] for entry in Logprobs(choice, 0).chat(0, 3)["content"]] == ["x", "a", "b"]

    def test_half_a_character_reads_nothing(self) -> None:
        content = Logprobs(spoken(Plan("é!".encode(), 3, "length")), 0).chat(0, 3)["content"]
        assert [(entry["token"], entry["bytes"]) for entry in content] == [("", []), ("é", [195, 169]), ("!", [33])]

    def test_completions(self) -> None:
        logprobs = Logprobs(spoken(Plan("é!".encode(), 3, "length")), 1).completion(0, 3, 5)
        assert logprobs["tokens"] == ["", "é", "!"]
        assert logprobs["text_offset"] == [5, 5, 6]
        assert [list(top) for top in logprobs["top_logprobs"]] == [[""], ["é"], ["!"]]
        assert Logprobs(spoken(Plan(b"T", 1, "length")), 0, as_token_ids=True).completion(0, 1, 0)["tokens"] == [
            "token_id:51"
        ]

    def test_all_the_vocabulary_adds_up(self) -> None:
        (entry,) = Logprobs(spoken(Plan(b"T", 1, "length")), -1).chat(0, 1)["content"]
        assert len(entry["top_logprobs"]) == VOCABULARY
        assert sum(math.exp(other["logprob"]) for other in entry["top_logprobs"]) < 1

    def test_of_the_prompt(self) -> None:
        first, second = of_prompt([51, 81], 2)
        assert first is None
        assert second is not None
        assert next((entry["rank"], entry["decoded_token"]) for entry in second.values()) == (1, "r")


class TestPlans:
    def plan(self, text: str, limit: int = 100, **fields: Any) -> Plan:
        return plan(Answer(text), Sampling.read(Fields(fields)), limit)

    def test_stop_tokens(self) -> None:
        assert self.plan("xTy", stop_token_ids=[51]) == Plan(b"x", 2, "stop", 51, unseen=b"T")
        assert self.plan("xTy", stop_token_ids=[51], include_stop_str_in_output=True).text == b"xT"
        assert self.plan("xTy", stop_token_ids=[256]).finish_reason == "stop"

    def test_a_stop_token_that_the_grammar_needs(self) -> None:
        """chat_stop_token_vs_grammar of the recordings."""
        assert self.plan("True", stop_token_ids=[51], structured_outputs={"choice": ["True"]}).finish_reason == "error"

    def test_allowed_tokens(self) -> None:
        assert self.plan("aTbT", limit=3, allowed_token_ids=[51]) == Plan(b"TTT", 3, "length")
        assert self.plan("ab", limit=3, allowed_token_ids=[51]) == Plan(b"TTT", 3, "length")
        assert self.plan("aTb", allowed_token_ids=[51, 256]) == Plan(b"T", 2, "stop")

    def test_min_tokens(self) -> None:
        assert self.plan("ab", min_tokens=4) == Plan(b"ab\na", 5, "stop")
        assert self.plan("ab", min_tokens=4, stop=["b"]).text == b"ab\na"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_p": 2}, "min_p must be in [0, 1], got 2.0."),
        ({"repetition_penalty": 0}, "repetition_penalty must be greater than zero, got 0.0."),
        ({"repetition_penalty": math.inf}, "repetition_penalty must be a finite number, got inf."),
        ({"min_tokens": -1}, "min_tokens must be greater than or equal to 0, got -1."),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens must be less than or equal to max_tokens=4, got 5."),
        ({"bad_words": [""]}, "bad_words cannot contain an empty string. Got bad_words=['']"),
        ({"stop_token_ids": [999]}, "token_id(s) [999] in stop_token_ids contain out-of-vocab token ids."),
        ({"logit_bias": {"999": 1}}, "token_id(s) [999] in logit_bias contain out-of-vocab token ids."),
        ({"allowed_token_ids": []}, "allowed_token_ids is not None and empty!"),
        ({"allowed_token_ids": [-1]}, "allowed_token_ids contains out-of-vocab token id!"),
        ({"prompt_logprobs": 21}, "Requested prompt logprobs of 21, which is greater than max allowed: 20"),
    ],
)
def test_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        check(Sampling.read(Fields(fields)), Limits("genrm-demo", 100))
    assert caught.value.message.startswith(message)


HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": []}, "`tools` must not be an empty array."),
        ({"tool_choice": "auto"}, "When using `tool_choice`, `tools` must be set."),
        ({"tools": [{}], "tool_choice": "junk"}, "Invalid value for `tool_choice`: junk!"),
        ({"tools": [{}], "tool_choice": {}}, "Invalid value for `function`: `None`"),
        ({"tools": [{}], "tool_choice": {"function": {}}}, "Expected field `name`"),
        ({"tools": [{}], "tool_choice": {"function": {"name": "f"}}}, "The tool specified in `tool_choice` does not"),
        ({"structured_outputs": {"choice": ["a"], "regex": "a"}}, "You can only use one kind of constraints"),
        ({"structured_outputs": {"regex": "a"}, "tools": [{"function": {"name": "f"}}],
          "tool_choice": {"function": {"name": "f"}}}, "You can only either use constraints"),
        ({"response_format": {"type": "json_schema"}}, "When response_format type is 'json_schema'"),
        ({"prompt_logprobs": "x"}, "`prompt_logprobs` must be an integer."),
        ({"prompt_logprobs": -2}, "`prompt_logprobs` must be a positive value or -1."),
        ({"prompt_logprobs": 1, "stream": True}, "`prompt_logprobs` are not available when `stream=True`."),
        ({"top_logprobs": -2}, "`top_logprobs` must be a positive value or -1."),
        ({"cache_salt": ""}, "Parameter 'cache_salt' must be"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "Cannot set both"),
        ({"continue_final_message": True}, "continue_final_message and add_generation_prompt are not compatible."),
        ({"chat_template": "x"}, "Chat template is passed with request"),
    ],
)  # fmt: skip
def test_contradictions(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_chat({"messages": HI, **fields}, Limits("genrm-demo", 2048))
    assert caught.value.message.startswith(message)
    assert caught.value.status == 400


def test_a_message_continued() -> None:
    body = {"messages": HI, "continue_final_message": True, "add_generation_prompt": False}
    assert read_chat(body, Limits("genrm-demo", 2048)).prompts[0].text == "<|im_start|>user\nhi"


def test_too_many_prompts() -> None:
    with pytest.raises(ApiError, match="prompt list length 1025"):
        read_completion({"prompt": ["x"] * 1025}, Limits("genrm-demo", 2048))


def test_histogram() -> None:
    histogram = Histogram((1, 2))
    histogram.observe(1)
    histogram.observe(1.5, times=2)
    histogram.observe(9)
    assert histogram.cumulative() == [("1.0", 1), ("2.0", 3), ("+Inf", 4)]
    assert histogram.total == 13
    assert token_buckets(60) == (1, 2, 5, 10, 20, 50)


def test_prefix_cache() -> None:
    cache = PrefixCache()
    keys, longer = block_keys(b"x" * 300), block_keys(b"x" * 400)
    assert (len(keys), longer[:2]) == (2, keys)
    assert [cache.admit(keys, 300), cache.admit(longer, 400), cache.admit(longer, 400)] == [0, 256, 384]
    # Of a prompt that is cached whole the last block is computed again.
    assert cache.admit(keys, 256) == 128
    cache.clear()
    assert cache.admit(keys, 300) == 0
