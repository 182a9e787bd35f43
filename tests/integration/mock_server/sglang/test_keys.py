"""API keys and admin keys of SGLang."""

from __future__ import annotations

import httpx
import pytest

from mock_server import MockServer
from sglang_support import CHAT, Factory


class TestKeys:
    ASKING = ("/v1/models", "/model_info", "/server_info", "/nowhere")
    OPEN = ("/health", "/health_generate", "/ready", "/_mock/state")

    def statuses(self, server: MockServer, key: str | None) -> tuple[set[int], set[int]]:
        """Of what asks, and of what changes the server."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=server.base_url, headers=headers) as client:
            assert {client.get(path).status_code for path in self.OPEN} == {200}
            asking = {client.get(path).status_code for path in self.ASKING} - {404}
            changing = {client.post("/flush_cache").status_code}
            for path in ("/release_memory_occupation", "/resume_memory_occupation", "/abort_request"):
                changing.add(client.post(path, json={}).status_code)
            for path in ("/pause_generation", "/continue_generation"):
                changing.add(client.post(path, json={}).status_code)
        return asking, changing

    @pytest.mark.parametrize(
        ("keys", "key", "asking", "changing"),
        [
            ({}, None, 200, 200),
            ({"api_key": "a"}, None, 401, 401),
            ({"api_key": "a"}, "a", 200, 200),
            ({"admin_api_key": "b"}, None, 200, 401),
            ({"admin_api_key": "b"}, "b", 200, 200),
            ({"api_key": "a", "admin_api_key": "b"}, "a", 200, 401),
            ({"api_key": "a", "admin_api_key": "b"}, "b", 401, 200),
        ],
        ids=str,
    )
    def test_which_key_opens_what(
        self, sglang: Factory, keys: dict[str, str], key: str | None, asking: int, changing: int
    ) -> None:
        assert self.statuses(sglang(**keys), key) == ({asking}, {changing})

    def test_how_it_is_said(self, sglang: Factory) -> None:
        server = sglang(api_key="a")
        refused = httpx.post(server.base_url + CHAT, content=b"{", headers={"Authorization": "Basic a"})
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
        allowed = httpx.get(server.base_url + "/v1/models", headers={"Authorization": "bearer a"})
        assert allowed.status_code == 200
        assert httpx.options(server.base_url + CHAT).status_code == 405
