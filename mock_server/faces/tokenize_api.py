"""POST /tokenize and /detokenize, which the API key does not guard."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mock_server.errors import bad_request
from mock_server.replies import wire
from mock_server.requests.chat_messages import read_messages
from mock_server.requests.fields import Fields
from mock_server.requests.reading import Limits, check_model, read_chat_prompt
from mock_server.tokens import decode, encode, token_string

_LARGEST_ID = 2**63 - 1


class TokenizeApi:
    """The tokenizer of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    async def tokenize(self, request: Request) -> Response:
        """{"prompt": "..."} or {"messages": [...]} -> ids, count and, if asked for, the tokens as strings."""
        body = await wire.read_object(request)
        fields = Fields(body)
        model = fields.string("model")
        as_strings = fields.boolean("return_token_strs")
        text = self._text(fields)
        check_model(model, self.limits)
        try:
            ids = encode(text)
        except UnicodeEncodeError:
            message = "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]"
            raise bad_request(message) from None
        answer = {"count": len(ids), "max_model_len": self.limits.max_model_len, "tokens": ids}
        return wire.body({**answer, "token_strs": [*map(token_string, ids)] if as_strings else None})

    async def detokenize(self, request: Request) -> Response:
        """{"tokens": [51, ...]} -> their text. Ids that nobody has stand for nothing."""
        fields = Fields(await wire.read_object(request))
        model = fields.string("model")
        tokens = _tokens(fields)
        fields.check()
        check_model(model, self.limits)
        return wire.body({"prompt": decode(tokens)})

    def _text(self, fields: Fields) -> str:
        """The body is of one of two kinds; of one that is neither, both are said to be wrong."""
        values = fields.values
        if isinstance(values.get("prompt"), str):
            fields.check()
            return str(values["prompt"])
        if isinstance(values.get("messages"), list):
            return read_chat_prompt(fields, self.limits)
        if "prompt" in values:
            fields.reject("string_type", "prompt", "Input should be a valid string", values["prompt"])
        else:
            fields.missing("prompt")
        read_messages(fields)
        fields.check()
        raise AssertionError("unreachable: neither kind, so there are complaints")


def _tokens(fields: Fields) -> list[int]:
    given: Any = fields.values.get("tokens")
    if "tokens" not in fields.values:
        fields.missing("tokens")
    elif not isinstance(given, list):
        fields.reject("list_type", "tokens", "Input should be a valid list", given)
    else:
        ids = fields.integers("tokens") or []
        for index, token_id in enumerate(ids):
            name = f"tokens.{index}"
            if token_id < 0:
                problem = "Input should be greater than or equal to 0"
                fields.reject("greater_than_equal", name, problem, token_id, {"ge": 0})
            elif token_id > _LARGEST_ID:
                problem = f"Input should be less than or equal to {_LARGEST_ID}"
                fields.reject("less_than_equal", name, problem, token_id, {"le": _LARGEST_ID})
        return ids
    return []
