"""SGLang's completions, whole and in chunks: every key of 0.5.23, also those that are always null."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mock_server.engine.machine import Choice
from mock_server.replies import sglang_logprobs as logprobs
from mock_server.replies.logprobs import said_ids
from mock_server.replies.wire import event
from mock_server.replies.writer import Writer
from mock_server.requests.sglang_reading import SglangRequest
from mock_server.tokens import END_TOKEN

WEIGHT_VERSION = "default"


class SglangWriter(Writer):
    """What the three kinds of answer have in common."""

    request: SglangRequest
    ends_unsaid = True

    def usage(self, said: int) -> dict[str, Any]:
        """The tokens of the prompts, and those that have been said."""
        prompt = self.request.prompt_tokens
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + said,
            "completion_tokens": said,
            "prompt_tokens_details": None,
            "reasoning_tokens": 0,
            "completion_tokens_details": None,
        }

    def whole(self, choices: Sequence[Choice]) -> Any:
        """The answer in one piece."""
        return {
            **self.head,
            "object": self.object_name,
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "usage": self.usage(sum(choice.tokens for choice in choices)),
            "metadata": {"weight_version": WEIGHT_VERSION},
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
        said = b""
        if span[0] == 0:
            said = self._event(index, {"reasoning_content": None, "role": "assistant", "content": ""})
        if text:
            found = self._logprobs(choice, *span)
            said += self._event(index, {"reasoning_content": None, "content": text}, logprobs=found, tokens=span[1])
        return said

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """How each choice ended; then the usage, if the client asked for it."""
        ends = [
            self._event(index, {"reasoning_content": None}, ended=choice)
            for index, choice in enumerate(choices)
            if choice.finish_reason
        ]
        if self.request.include_usage:
            usage = self.usage(sum(choice.tokens for choice in choices))
            ends.append(event({**self.head, "choices": [], "usage": usage}))
        return b"".join(ends)

    def _event(
        self,
        index: int,
        delta: dict[str, Any],
        ended: Choice | None = None,
        logprobs: dict[str, Any] | None = None,
        tokens: int | None = None,
    ) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": ended.finish_reason if ended else None,
            "matched_stop": matched_stop(ended) if ended else None,
        }
        chunk: dict[str, Any] = {**self.head, "choices": [choice]}
        if tokens is not None and self.request.continuous_usage:
            chunk["usage"] = self.usage(tokens)
        return event(chunk)

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
        usage = self.usage(span[1]) if self.request.continuous_usage else None
        return event({**self.head, "choices": [delta], "usage": usage})

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """The usage, if the client asked for it, without what is null."""
        if not self.request.include_usage:
            return b""
        usage = self.usage(sum(choice.tokens for choice in choices))
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

    def whole(self, choices: Sequence[Choice]) -> Any:
        """One object, or a list of them for a batch."""
        items = [self._item(index, choice, choice.tokens) for index, choice in enumerate(choices)]
        return items if self.request.batch else items[0]

    def chunk(self, index: int, choice: Choice, text: str, span: tuple[int, int], last: bool) -> bytes:  # noqa: ARG002
        """All that has been said so far."""
        item = self._item(index, choice, span[1], ended=last)
        return event({**item, "index": index} if self.request.batch else item)

    def closing(self, choices: Sequence[Choice]) -> bytes:  # noqa: ARG002
        """Nothing: the last event of a choice has said how it ended."""
        return b""

    def _item(self, index: int, choice: Choice, tokens: int, ended: bool = True) -> dict[str, Any]:
        meta = {
            "id": self._id(index),
            "finish_reason": finish_reason(choice) if ended else None,
            "prompt_tokens": self.prompt_of(index).tokens,
            "weight_version": WEIGHT_VERSION,
            "num_retractions": 0,
            "reasoning_tokens": 0,
            "completion_tokens": tokens,
            "cached_tokens": choice.cached_tokens,
        }
        if self.request.sampling.logprobs is not None:
            meta |= logprobs.generate(choice, self.request.sampling.logprobs, tokens, self.request.logprob_texts)
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
