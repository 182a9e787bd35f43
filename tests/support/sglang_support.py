"""What the tests of SGLang's face have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from mock_server import MockServer

Factory = Callable[..., MockServer]
Ask = Callable[..., dict[str, Any]]
Until = Callable[..., None]
CHAT = "/v1/chat/completions"
ALL = ["cuda_graph", "kv_cache", "weights"]


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that was told to its end."""
    *lines, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


def state(client: httpx.Client) -> Any:
    """What the mock says of its engine."""
    return client.get("/_mock/state").json()["engine"]
