"""What SGLang tells of itself: health, models, server information, metrics."""

from __future__ import annotations

import socket
import time

import httpx

from mock_server import MockServer
from sglang_support import CHAT, Factory


class TestInformation:
    def test_models(self, http: httpx.Client) -> None:
        (card,) = http.get("/v1/models").json()["data"]
        assert list(card) == ["id", "object", "created", "owned_by", "root", "parent", "max_model_len"]
        assert (card["id"], card["owned_by"]) == ("genrm-demo", "sglang")
        assert http.get("/v1/models/genrm-demo").json()["id"] == "genrm-demo"
        unknown = http.get("/v1/models/other")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")

    def test_info(self, http: httpx.Client) -> None:
        info = http.get("/model_info").json()
        assert info == http.get("/get_model_info").json()
        assert (info["served_model_name"], info["is_generation"]) == ("genrm-demo", True)
        info = http.get("/server_info").json()
        assert (info["served_model_name"], info["version"], info["tp_size"]) == ("genrm-demo", "0.5.23", 1)
        assert http.get("/get_server_info").json() == info
        assert http.get("/").json() == "SGLang is running"

    def test_tokens(self, http: httpx.Client) -> None:
        one = http.post("/tokenize", json={"prompt": "hi"}).json()
        assert one == {"tokens": [71, 72], "count": 2, "max_model_len": 32768}
        several = http.post("/v1/tokenize", json={"prompt": ["hi", "h"]}).json()
        assert (several["tokens"], several["count"]) == ([[71, 72], [71]], [2, 1])
        chat = http.post("/tokenize", json={"messages": [{"role": "user", "content": "hi"}]}).json()
        assert (
            chat["count"]
            == http.post(CHAT, json={"messages": [{"role": "user", "content": "hi"}]}).json()["usage"]["prompt_tokens"]
        )
        assert http.post("/detokenize", json={"tokens": [71, 72]}).json() == {"text": "hi"}
        assert http.post("/v1/detokenize", json={"tokens": [[71], [72]]}).json() == {"text": ["h", "i"]}
        assert http.post("/detokenize", json={"tokens": []}).json() == {"text": ""}
        for path, body in (
            ("/tokenize", {}),
            ("/tokenize", {"prompt": 5}),
            ("/detokenize", {}),
            ("/detokenize", {"tokens": "hi"}),
        ):
            assert http.post(path, json=body).status_code == 400

    def test_health_takes_a_second(self, sglang: Factory) -> None:
        server = sglang(health_seconds=1.0)
        started = time.monotonic()
        assert httpx.get(server.base_url + "/health", timeout=60).status_code == 200
        assert time.monotonic() - started >= 1.0

    def test_health_while_paused(self, http: httpx.Client) -> None:
        assert [http.get(path).status_code for path in ("/health", "/health_generate", "/ready", "/ping")] == [200] * 4
        http.post("/pause_generation", json={})
        assert [http.get(path).status_code for path in ("/ready", "/ping")] == [503, 200]
        ill = http.get("/health_generate")
        assert (ill.status_code, ill.content) == (503, b"")
        http.post("/continue_generation", json={})
        # Nobody has looked since.
        assert [http.get(path).status_code for path in ("/ready", "/ping")] == [503, 503]
        assert [http.get(path).status_code for path in ("/health", "/ready", "/ping")] == [200] * 3

    def test_an_http_2_preface(self, server: MockServer, http: httpx.Client) -> None:
        """Routers ask this way whether a worker speaks gRPC."""
        with socket.create_connection((server.host, server.port), timeout=60) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            assert client.recv(1000).startswith(b"HTTP/1.1 400")
        assert http.get("/ready").status_code == 200

    def test_other_origins(self, http: httpx.Client) -> None:
        answer = http.get("/ready", headers={"Origin": "http://x.test"})
        assert answer.headers["access-control-allow-credentials"] == "true"
