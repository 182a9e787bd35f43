"""SGLang's own /generate."""

from __future__ import annotations

from typing import Any

import httpx

from sglang_support import events


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
