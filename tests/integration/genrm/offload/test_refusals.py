"""What is refused before anything is told to the server."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genrm import OffloadError, OffloadRefused
from genrm.offload import vllm
from judged_samples import (
    Factory,
    Make,
    run,
    score,
)
from mock_server import MockServer
from served import served


class TestRefusals:
    def test_no_dev_mode(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(dev_mode=False)
        with pytest.raises(OffloadRefused, match=r"VLLM_SERVER_DEV_MODE=1.*--enable-sleep-mode.*GENRM_USE_OFFLOAD=0"):
            run(score(settings(server)))
        assert server.journal == []

    @pytest.mark.parametrize("backend", ["vllm", "sglang"])
    def test_the_wrong_backend(self, settings: Make, backend: str) -> None:
        """An API that is neither."""
        with served(Starlette()) as url, pytest.raises(OffloadRefused, match=url):
            run(score(settings(url, SERVER_BACKEND=backend)))

    def test_vllm_taken_for_sglang(self, mock_server: MockServer, settings: Make) -> None:
        with pytest.raises(OffloadRefused, match="is it SGLang"):
            run(score(settings(mock_server, SERVER_BACKEND="sglang")))

    def test_it_says_that_it_wakes_and_does_not(self, settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vllm, "ASLEEP_SECONDS", 0.2)

        async def answer(request: Request) -> Response:
            return JSONResponse({"version": "0.32.0", "is_sleeping": True, "is_paused": True, "status": "awake"})

        paths = ("/version", "/is_sleeping", "/is_paused", "/wake_up", "/sleep")
        routes = [Route(path, answer, methods=["GET", "POST"]) for path in paths]
        reason = r"was told to wake up and did not within 0\.2 s"
        with served(Starlette(routes=routes)) as url, pytest.raises(OffloadError, match=reason):
            run(score(settings(url)))
