"""One chat completion: messages -> a reply, or a JudgeError that says what went wrong where.

Any server with OpenAI's ``/v1/chat/completions`` will do. There is no retry here (see genrm.retries) beyond idle
connections that the server had closed (see genrm.transport).
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from genrm.endpoints import Endpoints
from genrm.errors import BadReply, JudgeError, JudgeOverloaded, JudgeRefused, JudgeTimeout, JudgeUnreachable
from genrm.prompts import Message
from genrm.settings import Settings
from genrm.transport import MendedTransport

# Statuses that may pass; every 5xx too. RFC 9110 and 6585; 425 is "too early".
_PASSING = frozenset({408, 409, 425, 429})
# No critique is that long: a server that sends more has gone mad.
MAX_BODY_BYTES = 16 * 2**20
_LONGEST_EXCERPT = 200
# So many letters in a row are no accident.
_PIECE = 16


@dataclass(frozen=True)
class Reply:
    """What the judge wrote.

    Attributes:
        text: the message's content; "" where the server sent null.
        finish_reason: the server's; None where it sent none.
        tokens: of prompt and completion together, as the server counted; 0 where it did not say.
    """

    text: str
    finish_reason: str | None
    tokens: int


class ChatClient:
    """Asks a judge's servers. Bound to the event loop that it is opened in; open one with `open_client`.

    Args:
        settings: of the judge.
        http: sends the requests; closed with this.
        endpoints: the base URLs.
    """

    def __init__(self, settings: Settings, http: httpx.AsyncClient, endpoints: Endpoints) -> None:
        self._http = http
        self._endpoints = endpoints
        self._timeout = settings.request_timeout
        self._key = settings.api_key.get_secret_value()
        body = {
            "model": settings.model_name,
            # The server's default is not 0: a judge would be a die.
            "temperature": 0,
            "max_tokens": settings.max_tokens,
            **json.loads(settings.extra_body),
        }
        self._body = {name: value for name, value in body.items() if value is not None}

    async def complete(self, messages: Sequence[Message]) -> Reply:
        """Ask once.

        Raises:
            JudgeError: there is no reply; the subclass tells whether asking again may help.
        """
        with self._endpoints.use() as endpoint:
            url = f"{endpoint.url}/v1/chat/completions"
            try:
                reply = await self._ask(url, messages)
            except (JudgeRefused, BadReply):
                raise
            except JudgeError:
                self._endpoints.failed(endpoint)
                raise
            self._endpoints.succeeded(endpoint)
            return reply

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, url: str, messages: Sequence[Message]) -> Reply:
        try:
            # httpx's own limits are per read: a server that drips a byte now and then would hold us for ever.
            with anyio.fail_after(self._timeout):
                status, headers, body = await self._post(url, messages)
        except (TimeoutError, httpx.TimeoutException) as error:
            what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "no whole reply"
            raise JudgeTimeout(url, f"{what} within {self._timeout:g} s") from None
        except httpx.DecodingError as error:
            raise BadReply(url, f"the body's content-encoding is broken: {error}") from None
        except httpx.HTTPError as error:
            raise JudgeUnreachable(url, f"{type(error).__name__}: {error}") from None
        if status != 200:
            raise self._refusal(url, status, headers, body, messages)
        if body is None:
            raise BadReply(url, f"the body is longer than {MAX_BODY_BYTES} bytes", status=status)
        return _reply_of(url, body)

    async def _post(self, url: str, messages: Sequence[Message]) -> tuple[int, httpx.Headers, bytes | None]:
        """Status, headers and body; None for a body that is too long."""
        # ASCII escapes carry lone surrogates, which a policy can write and UTF-8 cannot.
        content = json.dumps({**self._body, "messages": list(messages)}).encode("ascii")
        headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if self._key not in ("", "EMPTY"):
            headers["authorization"] = f"Bearer {self._key}"
        body = bytearray()
        async with self._http.stream("POST", url, content=content, headers=headers, timeout=None) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    return response.status_code, response.headers, None
        return response.status_code, response.headers, bytes(body)

    def _refusal(
        self, url: str, status: int, headers: httpx.Headers, body: bytes | None, messages: Sequence[Message]
    ) -> JudgeError:
        passing = status in _PASSING or status >= 500
        text = _message_in(body or b"")
        # vLLM 0.28 repeats the whole request in its 400s. Keys and prompts stay out of logs.
        if len(self._key) > 4:
            text = text.replace(self._key, "***")
        text = text[:_LONGEST_EXCERPT]
        if _repeats(text, messages):
            text = "(the server's message repeats the prompt and is left out)"
        kind = JudgeOverloaded if passing else JudgeRefused
        return kind(
            url,
            f"HTTP {status}: {text}".rstrip(": "),
            status=status,
            retry_after=_retry_after(headers.get("retry-after")) if passing else None,
        )


def open_client(settings: Settings) -> ChatClient:
    """A client for the running event loop, with connections of its own; close it with `ChatClient.aclose`."""
    transport = MendedTransport(trust_env=settings.server_backend == "openai")
    return ChatClient(settings, httpx.AsyncClient(transport=transport), Endpoints(settings.base_url))


def _reply_of(url: str, body: bytes) -> Reply:
    """The reply in a chat completion's body (OpenAI's API reference, "The chat completion object")."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadReply(url, f"HTTP 200, but the body is no JSON: {type(error).__name__}", status=200) from None
    if not isinstance(data, dict):
        raise BadReply(url, f"HTTP 200, but the body is no object: {type(data).__name__}", status=200)
    if data.get("error"):
        raise BadReply(url, "HTTP 200, but the body is an error", status=200)
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise BadReply(url, "HTTP 200, but the body holds no message", status=200)
    text, finish_reason = message.get("content"), choice.get("finish_reason")
    if not isinstance(text, (str, type(None))) or not isinstance(finish_reason, (str, type(None))):
        raise BadReply(url, "HTTP 200, but content or finish_reason is no text", status=200)
    return Reply(text or "", finish_reason, _tokens_in(data))


def _tokens_in(data: dict[str, Any]) -> int:
    usage = data.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


def _message_in(body: bytes) -> str:
    """What an error body says: OpenAI's and vLLM's nested form, SGLang's flat one, FastAPI's, or plain text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split())
    for key in ("error", "message", "detail"):
        if isinstance(data, dict) and key in data:
            data = data[key]
    return " ".join(str(data).split())


def _repeats(text: str, messages: Sequence[Message]) -> bool:
    """Whether a text holds a piece of the prompt, in whatever way white space and escapes are written."""
    letters = _letters(text)
    pieces = {letters[start : start + _PIECE] for start in range(len(letters) - _PIECE + 1)}
    prompts = [_letters(message["content"]) for message in messages]
    return any(piece in prompt for prompt in prompts for piece in pieces)


def _letters(text: str) -> str:
    """Letters and digits alone."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), text)
    return re.sub(r"\\+[nrt]|[\W_]+", "", text)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 10.2.3: seconds or a date); None where it says nothing usable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
