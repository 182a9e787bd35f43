"""Log probabilities of what was said: made up, but shaped as vLLM's (contract section 3).

The token that was said is always the likeliest, and the probabilities of a position add up to less than 1. A token is
a byte: one that does not complete a character reads "" and its bytes are [], as on the real server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mock_server.engine.machine import Choice
from mock_server.tokens import END_TOKEN, VOCABULARY, ids_of, token_bytes

_STEP = 64
"""How far apart in the vocabulary the alternatives of a token are: far enough to be of another kind."""
_SECOND_LOGPROB = -3.7
_NEXT_LOGPROB = -0.7


def said_ids(choice: Choice, start: int, stop: int) -> list[int]:
    """The ids of the tokens that a choice says, from number `start` up to `stop`; the last may be the end token."""
    plan = choice.plan
    said = ids_of((plan.text + plan.unseen)[start:stop])
    return [*said, *[END_TOKEN] * (stop - start - len(said))]


class Logprobs:
    """The log probabilities of one choice: `top` alternatives a token, perhaps spelt as `token_id:51`."""

    def __init__(self, choice: Choice, top: int, as_token_ids: bool = False) -> None:
        self.choice = choice
        self.top = VOCABULARY if top == -1 else top
        self.as_token_ids = as_token_ids

    def chat(self, start: int, stop: int) -> dict[str, Any]:
        """The `logprobs` of a chat choice, from token number `start` up to `stop`."""
        content = []
        for number, token_id in enumerate(said_ids(self.choice, start, stop), start):
            entry = self._entry(number, token_id, _logprob(number, token_id))
            alternatives = [self._entry(number, *other) for other in likeliest(number, token_id, self.top)]
            content.append({**entry, "top_logprobs": alternatives})
        return {"content": content}

    def completion(self, start: int, stop: int, offset: int) -> dict[str, Any]:
        """The `logprobs` of a completions choice; `offset` is where in the text token number `start` begins."""
        offsets, tokens, values, tops = [], [], [], []
        for number, token_id in enumerate(said_ids(self.choice, start, stop), start):
            token = self._token(number, token_id)
            offsets.append(offset)
            tokens.append(token)
            values.append(_logprob(number, token_id))
            row = likeliest(number, token_id, max(self.top, 1))
            # Tokens that read alike share a key, and the last one wins: so does the real server's.
            tops.append({self._token(number, other): logprob for other, logprob in row})
            offset += len(token)
        return {"text_offset": offsets, "token_logprobs": values, "tokens": tokens, "top_logprobs": tops}

    def _entry(self, number: int, token_id: int, logprob: float) -> dict[str, Any]:
        token = self._token(number, token_id)
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    def _token(self, number: int, token_id: int) -> str:
        if self.as_token_ids:
            return f"token_id:{token_id}"
        plan = self.choice.plan
        return _reading((plan.text + plan.unseen)[max(0, number - 3) : number], token_bytes(token_id))


def of_prompt(token_ids: Sequence[int], top: int) -> list[dict[str, Any] | None]:
    """The `prompt_logprobs` of a request: nothing for the first token, then id -> logprob, rank and text."""
    entries: list[dict[str, Any] | None] = [None]
    for number, token_id in enumerate(token_ids[1:], 1):
        row = likeliest(number, token_id, max(1, VOCABULARY if top == -1 else top))
        entries.append(
            {
                str(other): {"logprob": logprob, "rank": rank, "decoded_token": _reading(b"", token_bytes(other))}
                for rank, (other, logprob) in enumerate(row, 1)
            }
        )
    return entries[: len(token_ids)]


def _logprob(number: int, token_id: int) -> float:
    return -0.06 - (number * 31 + token_id * 7) % 50 / 1000


def likeliest(number: int, token_id: int, count: int) -> list[tuple[int, float]]:
    """The likeliest tokens of a position and their log probabilities, the said one first."""
    others = [(token_id + _STEP * rank) % VOCABULARY for rank in range(1, count)]
    values = [_SECOND_LOGPROB + _NEXT_LOGPROB * rank for rank in range(len(others))]
    return [(token_id, _logprob(number, token_id)), *zip(others, values, strict=True)][:count]


def _reading(before: bytes, token: bytes) -> str:
    """What a token adds to the text: a character when it completes one, else nothing."""
    for context in range(len(before) + 1):
        # The shortest piece that is a text: a byte in the midst of a character begins with the bytes before it.
        piece = before[len(before) - context :] + token
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            continue
        return text if context == 0 or len(text) == 1 else ""
    return ""
