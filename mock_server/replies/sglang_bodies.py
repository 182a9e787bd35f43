"""SGLang's completions, whole and in chunks: every key of 0.5.23, also those that are always null."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from mock_server.engine.machine import Choice
from mock_server.replies import sglang_logprobs as logprobs
from mock_server.replies.logprobs import said_ids
from mock_server.replies.wire import event
from mock_server.replies.writer import Writer
from mock_server.requests.sglang_reading import SglangRequest
from mock_server.tokens import END_TOKEN


class SglangWriter(Writer):
    """What the three kinds of answer have in common."""

    request: SglangRequest
    ends_unsaid = True

    def usage(self, choices: Sequence[Choice], said: int | None = None) -> dict[str, Any]:
        """The tokens of the prompts, and those that have been said: by all choices, or so many."""
        first = choices[:: self.request.sampling.n]
        prompt = sum(choice.plan.prompt_tokens for choice in first)
        cached = {"cached_tokens": sum(choice.cached_tokens for choice in first)}
        said = sum(choice.tokens for choice in choices) if said is None else said
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + said,
            "completion_tokens": said,
            "prompt_tokens_details": cached if self.request.reports_cache else None,
            "reasoning_tokens": 0,
            "completion_tokens_details": None,
        }

    def weight_versions(self, tokens: int) -> list[dict[str, Any]]:
        """Which weights said which tokens: those that were there when it was asked said all."""
        return [{"version": self.request.weight_version, "start": 0, "end": tokens}]

    def whole(self, choices: Sequence[Choice]) -> Any:
        """The answer in one piece."""
        return {
            **self.head,
            "object": self.object_name,
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "usage": self.usage(choices),
            "metadata": {
                "weight_version": self.request.weight_version,
                "weight_versions": self.weight_versions(choices[0].tokens),
            },
        }

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """One choice of the whole answer."""
        raise NotImplementedError


class SglangChatWriter(SglangWriter):
    """/v1/chat/completions"""

    object_name = "chat.completion"
    chunk_name = "chat.completion.chunk"

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        whole = {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "reasoning_content": None},
            "logprobs": self._logprobs(choice, 0, choice.tokens),
            "finish_reason": choice.finish_reason,
            "matched_stop": matched_stop(choice),
        }
        if self.request.return_token_ids:
            whole["prompt_token_ids"] = self.prompt_of(index).token_ids
            whole["response_token_ids"] = said_ids(choice, 0, choice.tokens)
        return whole

    def chunk(self, index: int, choice: Choice, text: str, span: tuple[int, int], last: bool) -> bytes:  # noqa: ARG002
        """Before the first text of a choice a chunk that says who speaks; a chunk without text is left out."""
        chunk = b""
        if span[0] == 0:
            chunk = self._event(index, {"reasoning_content": None, "role": "assistant", "content": ""})
        if text:
            delta = {"reasoning_content": None, "content": text}
            usage = self.usage([choice], span[1]) if self.request.continuous_usage else None
            chunk += self._event(index, delta, logprobs=self._logprobs(choice, *span), usage=usage)
        return chunk

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """How each choice ended; then the usage, if the client asked for it."""
        ends = [
            self._event(index, {"reasoning_content": None}, ended=choice)
            for index, choice in enumerate(choices)
            if choice.finish_reason
        ]
        if self.request.include_usage:
            ends.append(event({**self.head, "choices": [], "usage": self.usage(choices)}))
        return b"".join(ends)

    def _event(
        self,
        index: int,
        delta: dict[str, Any],
        ended: Choice | None = None,
        logprobs: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": ended.finish_reason if ended else None,
            "matched_stop": matched_stop(ended) if ended else None,
        }
        return event({**self.head, "choices": [choice], **({"usage": usage} if usage else {})})

    def _logprobs(self, choice: Choice, start: int, stop: int) -> dict[str, Any] | None:
        top = self.request.sampling.logprobs
        return None if top is None else logprobs.chat(choice, top, start, stop)


class SglangCompletionWriter(SglangWriter):
    """/v1/completions"""

    object_name = "text_completion"
    chunk_name = "text_completion"

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        whole = {
            "index": index,
            "text": self._echo(index) + choice.text,
            "logprobs": self._logprobs(choice, 0, choice.tokens),
            "finish_reason": choice.finish_reason,
            "matched_stop": matched_stop(choice),
        }
        if self.request.return_token_ids:
            whole["token_ids"] = said_ids(choice, 0, choice.tokens)
            whole["prompt_token_ids"] = self.prompt_of(index).token_ids
        return whole

    def chunk(self, index: int, choice: Choice, text: str, span: tuple[int, int], last: bool) -> bytes:
        """One chunk; the last of a choice says how it ended and may carry text."""
        delta = {
            "index": index,
            "text": (self._echo(index) if span[0] == 0 else "") + text,
            "logprobs": self._logprobs(choice, *span),
            "finish_reason": choice.finish_reason if last else None,
            "matched_stop": matched_stop(choice) if last else None,
        }
        if self.request.return_token_ids:
            delta["token_ids"] = said_ids(choice, *span)
            if span[0] == 0:
                delta["prompt_token_ids"] = self.prompt_of(index).token_ids
        usage = self.usage([choice], span[1]) if self.request.continuous_usage else None
        return event({**self.head, "choices": [delta], "usage": usage})

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """The usage, if the client asked for it, without what is null."""
        if not self.request.include_usage:
            return b""
        usage = self.usage(choices)
        known = {name: value for name, value in usage.items() if value is not None}
        return event({**self.head, "choices": [], "usage": known})

    def _echo(self, index: int) -> str:
        return self.prompt_of(index).text if self.request.echoes else ""

    def _logprobs(self, choice: Choice, start: int, stop: int) -> dict[str, Any] | None:
        top = self.request.sampling.logprobs
        return None if top is None else logprobs.completion(choice, top, start, stop)


class GenerateWriter(SglangWriter):
    """/generate: a text, its token ids and what is known about them; each event repeats the text so far."""

    object_name = chunk_name = ""

    def __init__(self, *request: Any) -> None:
        super().__init__(*request)
        self._started = time.monotonic()

    def whole(self, choices: Sequence[Choice]) -> Any:
        """One object, or a list of them for a batch."""
        items = [self._item(index, choice, choice.tokens) for index, choice in enumerate(choices)]
        return items if self.request.batch else items[0]

    def chunk(self, index: int, choice: Choice, text: str, span: tuple[int, int], last: bool) -> bytes:  # noqa: ARG002
        """All that has been said so far."""
        item = self._item(index, choice, span[1], ended=last, first=span[0] == 0)
        return event({**item, "index": index} if self.request.batch else item)

    def closing(self, choices: Sequence[Choice]) -> bytes:  # noqa: ARG002
        """Nothing: the last event of a choice has said how it ended."""
        return b""

    def _item(self, index: int, choice: Choice, tokens: int, ended: bool = True, first: bool = True) -> dict[str, Any]:
        """What has been said up to so many tokens, perhaps all; `first`: nothing has been sent before."""
        top, prompt = self.request.sampling.logprobs, self.prompt_of(index)
        meta: dict[str, Any] = {
            "id": self._id(index),
            "finish_reason": finish_reason(choice) if ended else None,
            "prompt_tokens": prompt.tokens,
            "weight_version": self.request.weight_version,
            "num_retractions": choice.retractions,
        }
        if top is not None:
            texts = self.request.logprob_texts
            meta |= logprobs.of_prompt(prompt.token_ids, self.request.logprobs_from, top, texts)
            meta |= logprobs.generate(choice, top, tokens, texts)
        meta |= {"reasoning_tokens": 0, "completion_tokens": tokens, "cached_tokens": choice.cached_tokens}
        if ended:
            meta["weight_versions"] = self.weight_versions(tokens)
        cached = {"device": choice.cached_tokens, "host": 0} if choice.cached_tokens else None
        meta |= {"cached_tokens_details": cached, "dp_rank": None}
        if ended:
            meta["e2e_latency"] = time.monotonic() - self._started
        if first:
            meta["response_sent_to_client_ts"] = time.time()
        text = choice.plan.text[:tokens].decode(errors="ignore")
        return {"text": text, "output_ids": said_ids(choice, 0, tokens), "meta_info": meta}

    def _id(self, index: int) -> str:
        if not self.request.batch:
            return str(self.head["id"])
        while len(self._ids) <= index:
            given = f"{self.request.request_id}_{len(self._ids)}" if self.request.request_id else os.urandom(16).hex()
            self._ids.append(given)
        return self._ids[index]

    @property
    def _ids(self) -> list[str]:
        return self.request.ids


def matched_stop(choice: Choice) -> int | str | None:
    """What ended a choice: the stop string, the stop token, or the end token."""
    if choice.finish_reason != "stop":
        return None
    return END_TOKEN if choice.stop_reason is None else choice.stop_reason


def finish_reason(choice: Choice) -> dict[str, Any]:
    """How a choice ended, in the words of the engine."""
    if choice.finish_reason == "stop":
        return {"type": "stop", "matched": matched_stop(choice)}
    if choice.finish_reason == "length":
        return {"type": "length", "length": choice.tokens}
    return {"type": "abort", "message": "Aborted", "status_code": None, "err_type": None}
