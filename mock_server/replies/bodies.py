"""vLLM's completions, whole and in chunks: every key of 0.32.0, also those that are always null.

Recorded (contract section 3, golden/vllm-0.32.0), except the chunks of /v1/completions, which follow its source.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mock_server.engine.machine import Choice
from mock_server.replies.logprobs import Logprobs, of_prompt, said_ids
from mock_server.replies.wire import event
from mock_server.replies.writer import Writer
from mock_server.requests.reading import Prompt


class VllmWriter(Writer):
    """What both kinds of completion have in common."""

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """The answer in one piece."""
        return {
            **self.head,
            "object": self.object_name,
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": {
                **self._usage(choices),
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            },
            **self._trailer(),
        }

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """The usage, if the client asked for it."""
        if not self.request.include_usage:
            return b""
        chunk = {**self.head, "choices": [], "usage": self._usage(choices)}
        return event({**chunk, "system_fingerprint": self.fingerprint} if self.fingerprint else chunk)

    def chunk(self, index: int, choice: Choice, text: str, span: tuple[int, int], last: bool) -> bytes:
        """One chunk; the last of a choice says how it ended and may carry text."""
        delta = self._delta(index, text)
        if self.request.by_token:
            self._add_tokens(delta, choice, *span)
        chunk = {**self.head, "choices": [delta]}
        if last:
            delta["finish_reason"] = choice.finish_reason
            delta["stop_reason"] = choice.stop_reason
            # The fingerprint goes with the last chunk that carries data.
            if self.fingerprint and not self.request.include_usage:
                chunk["system_fingerprint"] = self.fingerprint
        return event(self._with_usage(chunk, span[1]))

    def _add_tokens(self, delta: dict[str, Any], choice: Choice, start: int, stop: int) -> None:
        """Put the tokens from number `start` up to `stop` into a chunk's choice: their ids, their probabilities."""
        if self.request.return_token_ids:
            delta["token_ids"] = said_ids(choice, start, stop)
        logprobs = self._logprobs(choice, start, stop)
        if logprobs:
            delta["logprobs"] = logprobs

    def _with_usage(self, chunk: dict[str, Any], tokens: int) -> dict[str, Any]:
        if self.request.continuous_usage:
            prompt = self.request.prompt_tokens
            chunk["usage"] = {
                "prompt_tokens": prompt,
                "total_tokens": prompt + tokens,
                "completion_tokens": tokens,
                "completion_tokens_details": None,
            }
        return chunk

    def _usage(self, choices: Sequence[Choice]) -> dict[str, Any]:
        prompt, said = self.request.prompt_tokens, sum(choice.tokens for choice in choices)
        return {"prompt_tokens": prompt, "total_tokens": prompt + said, "completion_tokens": said}

    def _token_ids(self, choice: Choice) -> list[int] | None:
        return said_ids(choice, 0, choice.tokens) if self.request.return_token_ids else None

    def _prompt_ids(self, prompt: Prompt) -> list[int] | None:
        return prompt.token_ids if self.request.return_token_ids else None

    def _prompt_logprobs(self, prompt: Prompt) -> list[dict[str, Any] | None] | None:
        top = self.request.sampling.prompt_logprobs
        return None if top is None else of_prompt(prompt.token_ids, top)

    def _logprobs(self, choice: Choice, start: int = 0, stop: int | None = None) -> dict[str, Any] | None:
        top = self.request.sampling.logprobs
        if top is None or not choice.tokens:
            return None
        stop = choice.tokens if stop is None else stop
        return self._shaped(Logprobs(choice, top, self.request.tokens_as_ids), start, stop)

    @abstractmethod
    def _shaped(self, logprobs: Logprobs, start: int, stop: int) -> dict[str, Any]:
        """Log probabilities as this endpoint shapes them."""

    @abstractmethod
    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """One choice of the whole answer."""

    @abstractmethod
    def _delta(self, index: int, text: str) -> dict[str, Any]:
        """One choice of a chunk."""

    @abstractmethod
    def _trailer(self) -> dict[str, Any]:
        """The keys after the usage."""


class ChatWriter(VllmWriter):
    """/v1/chat/completions"""

    id_prefix = "chatcmpl"
    object_name = "chat.completion"
    chunk_name = "chat.completion.chunk"

    def opening(self, choices: Sequence[Choice]) -> bytes:
        """A chunk for each choice that says who speaks."""
        super().opening(choices)
        return b"".join(event(self._role_chunk(index)) for index in range(len(choices)))

    def _role_chunk(self, index: int) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        chunk = {**self.head, "choices": [choice], **self._of_prompt()}
        return self._with_usage(chunk, 0)

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        message = {
            "role": "assistant",
            "content": choice.text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
        }
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(choice),
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": self._token_ids(choice),
            "routed_experts": None,
        }

    def _delta(self, index: int, text: str) -> dict[str, Any]:
        return {
            "index": index,
            "delta": {"content": text},
            "logprobs": None,
            "finish_reason": None,
            "token_ids": None,
        }

    def _trailer(self) -> dict[str, Any]:
        return {
            "prompt_logprobs": self._prompt_logprobs(self.request.prompts[0]),
            **self._of_prompt(),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def _of_prompt(self) -> dict[str, Any]:
        prompt = self.request.prompts[0]
        text = prompt.text if self.request.return_prompt_text else None
        return {"prompt_token_ids": self._prompt_ids(prompt), "prompt_text": text}

    def _shaped(self, logprobs: Logprobs, start: int, stop: int) -> dict[str, Any]:
        return logprobs.chat(start, stop)


class CompletionWriter(VllmWriter):
    """/v1/completions"""

    id_prefix = "cmpl"
    object_name = "text_completion"
    chunk_name = "text_completion"
    prompts_apart = True

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        prompt = self.prompt_of(index)
        return {
            "index": index,
            "text": self.request.echo + choice.text if self.request.echo else choice.text,
            "logprobs": self._logprobs(choice),
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": self._token_ids(choice),
            "prompt_logprobs": self._prompt_logprobs(prompt),
            "prompt_token_ids": self._prompt_ids(prompt),
            "routed_experts": None,
        }

    def _delta(self, index: int, text: str) -> dict[str, Any]:
        return {
            "index": index,
            "text": text,
            "logprobs": None,
            "finish_reason": None,
            "stop_reason": None,
            "prompt_token_ids": None,
            "token_ids": None,
        }

    def _add_tokens(self, delta: dict[str, Any], choice: Choice, start: int, stop: int) -> None:
        super()._add_tokens(delta, choice, start, stop)
        if start == 0:
            delta["prompt_token_ids"] = self._prompt_ids(self.prompt_of(delta["index"]))

    def _shaped(self, logprobs: Logprobs, start: int, stop: int) -> dict[str, Any]:
        offset = len(logprobs.choice.plan.text[:start].decode(errors="ignore"))
        return logprobs.completion(start, stop, len(self.request.echo) + offset)

    def _trailer(self) -> dict[str, Any]:
        return {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
