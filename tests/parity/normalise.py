"""Hide what may differ between two runs of one server, keep everything else.

Hidden: ids that nobody chose, times, generated text, token counts (their sum is checked), log probabilities, dates,
lengths. Kept: status, header names, every key, what is null, error bodies, finish_reason, stop_reason, order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from parity import metrics, streams
from parity.exchange import Exchange

_CHOSEN_BY_NOBODY = re.compile(r"(?P<kind>(?:[a-z]+-)*)[0-9a-f]{8}[0-9a-f-]*")
_ADDRESS = re.compile(r"https?://[^/]+")
_POINTER = re.compile(r"0x[0-9a-f]+")
_SOURCE = re.compile(r'File "[^"]*/(?=sglang/)')
"""SGLang tells where the code lies that refused a request."""
_CLOCK = re.compile(r"\[\d\d:\d\d:\d\d\]")
"""Its grammars tell the time when they are refused."""
_TIMES = {"e2e_latency", "response_sent_to_client_ts", "timestamp"}
_COUNTS = {"prompt_tokens": "<prompt>", "completion_tokens": "<completion>", "cached_tokens": "<cached>"}
_COUNTS["output_token_logprobs_length"] = _COUNTS["completion_tokens"]
_TEXTS = {"content", "text"}

Keep = frozenset[str]


def answer(exchange: Exchange) -> dict[str, Any]:
    """What one request got."""
    if not exchange.ending:
        return {"status": exchange.status, "ending": "none"}
    seen: dict[str, Any] = {
        "status": exchange.status,
        "ending": exchange.ending,
        "headers": _headers(exchange.headers),
    }
    if exchange.status is None:
        del seen["headers"]
        return seen
    seen["body"] = _body(exchange)
    return seen


def text(exchange: Exchange) -> str:
    """All text of an answer, as generated."""
    if exchange.is_stream:
        return streams.text(exchange.body)
    body = json.loads(exchange.body)
    if "meta_info" in body:
        return str(body["text"])
    choices = body.get("choices", [])
    return "\n".join(choice.get("text") or choice["message"]["content"] for choice in choices)


def _headers(headers: list[tuple[str, str]]) -> dict[str, str]:
    hide: dict[str, Callable[[str], str]] = {
        "date": lambda _: "<date>",
        "content-length": lambda value: value if value == "0" else "<bytes>",
        "allow": lambda value: ", ".join(sorted(value.split(", "))),
        "location": lambda value: _ADDRESS.sub("<server>", value),
        "x-request-id": _name,
    }
    return {name: hide.get(name, str)(value) for name, value in sorted((key.lower(), value) for key, value in headers)}


def _body(exchange: Exchange) -> Any:
    request = exchange.request
    if exchange.is_stream:
        # Where a client hangs up depends on how much it had read: only how it began is compared.
        whole = exchange.ending == "complete"
        return streams.normalised(exchange.body, lambda value: json_value(value, request.keep), request.keep, whole)
    if request.families is not None:
        return metrics.families(exchange.body.decode(), request.families)
    if "json" in exchange.header("content-type") and exchange.body:
        value = json.loads(exchange.body)
        if request.only:
            value = {key: entry for key, entry in value.items() if key in request.only}
        return json_value(value, request.keep) if request.shape is None else shape(value, request.shape)
    return exchange.body.decode(errors="replace")


def shape(value: Any, depth: int) -> Any:
    """The keys of a value down to a depth, and types below."""
    if isinstance(value, dict) and depth > 0:
        return {key: shape(entry, depth - 1) for key, entry in sorted(value.items())}
    return f"<{type(value).__name__}>"


def json_value(value: Any, keep: Keep, key: str = "", parent: Mapping[str, Any] | None = None) -> Any:
    """A JSON value with the differing parts of it replaced by their names in angle brackets."""
    if isinstance(value, dict):
        return _mapping(value, keep)
    if isinstance(value, list):
        return _list(value, keep, key, parent)
    if isinstance(value, str):
        return _string(value, keep, key, parent or {})
    if key == "created" and isinstance(value, int):
        return "<time>"
    if key == "logprob" and isinstance(value, float):
        return "<number>"
    if key in _TIMES and isinstance(value, float):
        return "<time>"
    return value


def _mapping(value: dict[str, Any], keep: Keep) -> dict[str, Any]:
    if {"prompt_tokens", "total_tokens"} <= value.keys():
        return _usage(value, keep)
    if "finish_reason" in value and "prompt_tokens" in value:
        return _meta_info(value, keep)
    if value.keys() == {"version", "start", "end"} and value["end"] and "usage" not in keep:
        value = {**value, "end": "<completion>"}
    if "choices" in value and "text" not in keep:
        value = _with_text(value)
    return {key: json_value(entry, keep, key, value) for key, entry in value.items()}


def _with_text(completion: dict[str, Any]) -> dict[str, Any]:
    """Tokens that are no text alone (half a character) leave the text empty; here that counts as text."""
    if not (completion.get("usage") or {}).get("completion_tokens"):
        return completion
    completion = json.loads(json.dumps(completion))
    for choice in completion["choices"]:
        holder, key = (choice, "text") if "text" in choice else (choice.get("message", {}), "content")
        if holder.get(key) == "":
            holder[key] = "?"
    return completion


def _list(value: list[Any], keep: Keep, key: str, parent: Mapping[str, Any] | None) -> Any:
    if key == "bytes":
        return "<bytes>"
    if key in {"token_ids", "tokens", "token_logprobs"} and parent and parent.keys() & {"finish_reason", "text_offset"}:
        return ["<tokens>"] if value else value
    if key == "output_ids":
        return ["<tokens>"] if value else value
    if key in {"text_offset", "top_logprobs"} and parent and "text_offset" in parent:
        return ["<numbers>"] if value else value
    return [json_value(entry, keep, key, parent) for entry in value]


def _string(value: str, keep: Keep, key: str, parent: Mapping[str, Any]) -> str:
    if key in {"id", "request_id"}:
        return _name(value)
    if key in _TEXTS and "text" not in keep:
        return "<text>" if value else ""
    if key == "token":
        return "<token>"
    if key in {"model_path", "tokenizer_path"} or (key == "root" and "max_model_len" in parent):
        return "<model path>"
    if key == "system_fingerprint":
        return re.sub(r"-[0-9a-f]{8}$", "-<hex>", value)
    if key == "message":
        return _CLOCK.sub("[<time>]", _SOURCE.sub('File "<packages>/', _POINTER.sub("0x", value)))
    return value


def _name(value: str) -> str:
    """An id: kept where somebody chose it."""
    match = _CHOSEN_BY_NOBODY.fullmatch(value)
    return f"{match['kind']}<hex>" if match else value


def _usage(usage: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """Token counts become "some", or stay where they are zero, kept, or do not add up."""
    wrong = usage["total_tokens"] != usage["prompt_tokens"] + (usage.get("completion_tokens") or 0)
    if wrong or "usage" in keep:
        return usage
    counts = {"prompt_tokens": "<prompt>", "completion_tokens": "<completion>", "total_tokens": "<sum of both>"}
    return {key: counts[key] if key in counts and value else value for key, value in usage.items()}


def _meta_info(about: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """What SGLang's /generate tells about an answer: counts are hidden like those of usage, where tokens are listed."""
    hidden: dict[str, Any] = {}
    for key, value in about.items():
        if key in _COUNTS and value and "usage" not in keep:
            hidden[key] = _COUNTS[key]
        elif key == "cached_tokens_details" and value and "usage" not in keep:
            hidden[key] = {place: "<cached>" if number else 0 for place, number in value.items()}
        elif "_logprobs" in key and isinstance(value, list):
            hidden[key] = _tokens_with_logprobs(value)
        else:
            hidden[key] = json_value(value, keep, key, about)
    return hidden


def _tokens_with_logprobs(value: Any) -> Any:
    """SGLang's [log probability, token, text or null], listed once or for each position."""
    if not isinstance(value, list) or not value:
        return value
    if len(value) == 3 and isinstance(value[1], int):
        number, _token, text = value
        return ["<number>" if isinstance(number, float) else number, "<token>", text and "<text>"]
    return [_tokens_with_logprobs(entry) for entry in value]
