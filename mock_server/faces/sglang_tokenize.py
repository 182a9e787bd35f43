"""SGLang's tokenizer: POST /tokenize and /detokenize, also under /v1."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mock_server.errors import Problem, invalid
from mock_server.replies import sglang_wire, wire
from mock_server.requests.fields import Fields
from mock_server.requests.lengths import Limits
from mock_server.requests.sglang_fields import prompts_of
from mock_server.requests.sglang_reading import read_chat
from mock_server.tokens import decode, encode


class SglangTokenize:
    """The tokenizer of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    async def tokenize(self, request: Request) -> Response:
        """{"prompt": "..."}, a list of them, or {"messages": [...]} -> ids and count; lists for a list."""
        fields = Fields(await _object(request))
        given, messages = fields.values.get("prompt"), fields.values.get("messages")
        prompts = prompts_of(given)
        if given is not None and (prompts is None or not all(isinstance(prompt, str) for prompt in prompts)):
            fields.reject("string_type", "prompt.str", "Input should be a valid string", given)
        if (given is None) == (messages is None):
            words = "Value error, Exactly one of 'prompt' or 'messages' must be provided."
            fields.problems.append(Problem("value_error", "body", words, fields.values))
        fields.check()
        ids = [encode(prompt) for prompt in self._texts(fields.values, prompts)]
        alone = not isinstance(given, list)
        return wire.body(
            {
                "tokens": ids[0] if alone else ids,
                "count": len(ids[0]) if alone else [*map(len, ids)],
                "max_model_len": self.limits.max_model_len,
            }
        )

    def _texts(self, body: Any, prompts: Any) -> list[str]:
        return prompts if prompts is not None else [read_chat(body, self.limits).prompts[0].text]

    async def detokenize(self, request: Request) -> Response:
        """{"tokens": [51, ...]} or a list of such lists -> their text, or texts."""
        fields = Fields(await _object(request))
        given = fields.values.get("tokens")
        lists = prompts_of(given) if given else []
        if "tokens" not in fields.values:
            fields.missing("tokens")
        elif not isinstance(given, list) or lists is None or not all(isinstance(item, list) for item in lists):
            fields.reject("list_type", "tokens.list[int]", "Input should be a valid list", given)
        fields.check()
        texts = [decode(tokens) for tokens in lists or [] if not isinstance(tokens, str)]
        return wire.body({"text": texts if given and isinstance(given[0], list) else "".join(texts)})


async def _object(request: Request) -> dict[str, Any]:
    data = await sglang_wire.read_checked(request)
    if not isinstance(data, dict):
        words = "Input should be a valid dictionary or object to extract fields from"
        raise invalid([Problem("model_attributes_type", "body", words, data)])
    return data
