"""What several tests use: where respx answers as the judge, and a completion as a server would send it."""

from __future__ import annotations

from typing import Any

import httpx

BASE_URL = "http://judge:30000"
CHAT = f"{BASE_URL}/v1/chat/completions"


def completion(text: str | None, finish_reason: str | None = "stop", tokens: int = 10) -> httpx.Response:
    """A chat completion as a server would answer."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
    return httpx.Response(
        200, json={"choices": [{**choice, "finish_reason": finish_reason}], "usage": {"total_tokens": tokens}}
    )
