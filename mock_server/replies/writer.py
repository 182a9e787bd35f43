"""How any kind of server writes a completion: whole, or in chunks as it is said."""

from __future__ import annotations

import codecs
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from mock_server.engine.machine import Choice
from mock_server.requests.reading import CompletionRequest, Prompt

CHUNK_BYTES = 4
"""The most text that goes into one chunk: about what a token of a real model holds."""


class Writer(ABC):
    """Writes the answer to one request; its subclasses know the kinds of server and of completion."""

    id_prefix: ClassVar[str] = ""
    object_name: ClassVar[str]
    chunk_name: ClassVar[str]
    prompts_apart: ClassVar[bool] = False
    """Whether each prompt is a request of its own to the engine, with its number after the request's id."""
    ends_unsaid: ClassVar[bool] = False
    """Whether a choice that ends before it has said anything has a chunk all the same."""

    def __init__(self, request_id: str, model: str, request: CompletionRequest, fingerprint: str | None = None) -> None:
        self.request = request
        self.chunk_bytes = 1 if request.by_token else CHUNK_BYTES
        self.fingerprint = fingerprint
        self.head = {"id": request_id, "object": self.chunk_name, "created": int(time.time()), "model": model}
        self._sent: list[Sent] = []

    @abstractmethod
    def whole(self, choices: Sequence[Choice]) -> Any:
        """The answer in one piece."""

    def opening(self, choices: Sequence[Choice]) -> bytes:
        """What comes before the first text."""
        self._sent = [Sent() for _ in choices]
        return b""

    def pieces(self, choices: Sequence[Choice]) -> bytes:
        """What has been said since the last call, in chunks; the choices take turns."""
        queues = [self._new_chunks(index, choice, self._sent[index]) for index, choice in enumerate(choices)]
        longest = max(map(len, queues))
        return b"".join(queue[turn] for turn in range(longest) for queue in queues if turn < len(queue))

    @abstractmethod
    def closing(self, choices: Sequence[Choice]) -> bytes:
        """What comes after the last text."""

    @abstractmethod
    def chunk(self, index: int, choice: Choice, text: str, span: tuple[int, int], last: bool) -> bytes:
        """One chunk: the text, and the tokens from number span[0] up to span[1]. `last`: with it the choice ends."""

    def _new_chunks(self, index: int, choice: Choice, sent: Sent) -> list[bytes]:
        size = self.chunk_bytes
        data = choice.plan.text[sent.bytes : choice.tokens]
        # What a choice says that cannot go on has no last chunk: the error comes instead.
        ends = choice.finish_reason not in (None, "error") and not sent.ended
        # On vLLM a choice that never said anything ends without a word: no finish_reason (contract section 2).
        if not data and not (ends and (choice.tokens or self.ends_unsaid)):
            return []
        sent.ended = ends
        chunks = []
        for start in range(0, max(len(data), 1), size):
            piece = data[start : start + size]
            before, sent.bytes = sent.bytes, sent.bytes + len(piece)
            last = ends and start + size >= len(data)
            span = before, choice.tokens if last else sent.bytes
            chunks.append(self.chunk(index, choice, sent.decoder.decode(piece), span, last))
        return chunks

    def prompt_of(self, index: int) -> Prompt:
        """The prompt that a choice answers."""
        return self.request.prompts[index // self.request.sampling.n]


class Sent:
    """How much of a choice has been sent."""

    __slots__ = ("bytes", "decoder", "ended")

    def __init__(self) -> None:
        self.bytes = 0
        self.ended = False
        # A chunk may end inside a character: its bytes wait for the next chunk, as on the real server.
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
