"""Log probabilities as SGLang shapes them; the numbers are made up as for vLLM (logprobs.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mock_server.engine.machine import Choice
from mock_server.replies.logprobs import likeliest, said_ids
from mock_server.tokens import decode, token_bytes


def chat(choice: Choice, top: int, start: int, stop: int) -> dict[str, Any]:
    """The `logprobs` of a chat choice, from token number `start` up to `stop`; bytes are those of the token itself."""
    content = []
    for number, token_id in enumerate(said_ids(choice, start, stop), start):
        said, *_ = row = [_entry(*each) for each in likeliest(number, token_id, max(top, 1))]
        content.append({**said, "top_logprobs": row[:top]})
    return {"content": content}


def completion(choice: Choice, top: int, start: int, stop: int) -> dict[str, Any]:
    """The `logprobs` of a completions choice. Where a token begins in the text is not said (-1)."""
    ids = said_ids(choice, start, stop)
    rows = [likeliest(number, token_id, max(top, 1)) for number, token_id in enumerate(ids, start)]
    return {
        "text_offset": [-1] * len(ids),
        "token_logprobs": [row[0][1] for row in rows],
        "tokens": [decode([token_id]) for token_id in ids],
        "top_logprobs": [{decode([other]): value for other, value in row} for row in rows] if top else [],
    }


def of_prompt(token_ids: Sequence[int], start: int, top: int, with_texts: bool) -> dict[str, Any]:
    """What /generate says in `meta_info` of the prompt from token number `start` on; -1: nothing.

    Nobody knows how likely the first token was.
    """
    ids = [] if start < 0 else token_ids[start:]
    rows = [likeliest(number, token_id, max(top, 1)) for number, token_id in enumerate(ids)]
    said = [[None if number == 0 else row[0][1], *_named(row[0], with_texts)[1:]] for number, row in enumerate(rows)]
    tops = [None if number == 0 else _row(row, with_texts) for number, row in enumerate(rows)]
    return {"input_token_logprobs": said, **({"input_top_logprobs": tops} if top else {})}


def generate(choice: Choice, top: int, tokens: int, with_texts: bool) -> dict[str, Any]:
    """What /generate says in `meta_info` of the first `tokens` tokens: rows of probability, id and perhaps text."""
    ids = said_ids(choice, 0, tokens)
    rows = [likeliest(number, token_id, max(top, 1)) for number, token_id in enumerate(ids)]
    of_tokens = {
        "output_token_logprobs": [_named(row[0], with_texts) for row in rows],
        "output_token_logprobs_length": len(ids),
    }
    return {**of_tokens, "output_top_logprobs": [_row(row, with_texts) for row in rows]} if top else of_tokens


def _row(row: list[tuple[int, float]], with_texts: bool) -> list[list[Any]]:
    return [_named(each, with_texts) for each in row]


def _named(entry: tuple[int, float], with_texts: bool) -> list[Any]:
    token_id, logprob = entry
    return [logprob, token_id, decode([token_id]) if with_texts else None]


def _entry(token_id: int, logprob: float) -> dict[str, Any]:
    return {"token": decode([token_id]), "bytes": list(token_bytes(token_id)), "logprob": logprob}
