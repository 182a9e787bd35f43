"""Log probabilities as SGLang shapes them; the numbers are made up as for vLLM (logprobs.py)."""

from __future__ import annotations

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


def generate(choice: Choice, top: int, tokens: int, with_texts: bool) -> dict[str, Any]:
    """What /generate says in `meta_info` of the first `tokens` tokens: rows of probability, id and perhaps text."""

    def said(entry: tuple[int, float]) -> tuple[float, int, str | None]:
        return entry[1], entry[0], decode([entry[0]]) if with_texts else None

    ids = said_ids(choice, 0, tokens)
    rows = [likeliest(number, token_id, max(top, 1)) for number, token_id in enumerate(ids)]
    of_tokens = {
        "input_token_logprobs": [],
        "output_token_logprobs": [said(row[0]) for row in rows],
        "output_token_logprobs_length": len(ids),
    }
    if top:
        of_tokens |= {"input_top_logprobs": [], "output_top_logprobs": [[*map(said, row)] for row in rows]}
    return of_tokens


def _entry(token_id: int, logprob: float) -> dict[str, Any]:
    return {"token": decode([token_id]), "bytes": list(token_bytes(token_id)), "logprob": logprob}
