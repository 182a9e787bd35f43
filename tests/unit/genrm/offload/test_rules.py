"""What each version of vLLM can do (contract section 5), and SGLang's and vLLM's words that are no answer."""

from __future__ import annotations

import json

import httpx
import pytest
import respx

from genrm.errors import JudgeError, OffloadError, OffloadRefused
from genrm.offload.servers import Control, Seen
from genrm.offload.sglang import SglangServer, workers_behind
from genrm.offload.vllm import Rules, VllmServer

URL = "http://judge:30000"
PAUSED = httpx.Response(200, json={"is_paused": True})
HALF_BUSY = 'vllm:num_requests_running{engine="0"} 0.0\nvllm:num_requests_running{engine="1"} 2.0'
INFO = {"enable_memory_saver": True, "enable_weights_cpu_backup": True}
OLD, WAITS, MODES, DRAINS, NEW = (
    Rules(sleep_drains=False, pause="", wakes_in_parts=False),
    Rules(sleep_drains=False, pause="wait_for_inflight_requests=true", wakes_in_parts=False),
    Rules(sleep_drains=False, pause="mode=wait", wakes_in_parts=False),
    Rules(sleep_drains=True, pause="mode=wait", wakes_in_parts=False),
    Rules(sleep_drains=True, pause="mode=wait", wakes_in_parts=True),
)


@pytest.mark.parametrize(
    ("version", "rules"),
    [
        ("0.8.5", OLD),
        ("0.10.1.1", OLD),
        ("0.11.2", OLD),
        ("0.12.0", WAITS),
        ("0.15.1", WAITS),
        ("0.16.0", MODES),
        ("0.16.0rc2.dev87+g0b20469c6", MODES),
        ("0.17.0", DRAINS),
        ("0.17", DRAINS),
        ("0.19.1.dev3+gabc", DRAINS),
        ("0.23.0", DRAINS),
        ("0.24.0", NEW),
        ("0.32.0+cpu", NEW),
        ("v0.33.0", NEW),
        ("1.0", NEW),
        ("dev", NEW),
        ("", NEW),
        ("None", NEW),
    ],
)
def test_rules_of(version: str, rules: Rules) -> None:
    assert Rules.of(version) == rules


def test_a_version_that_cannot_be_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    Rules.of("main-branch")
    assert "'main-branch' cannot be read; it is taken for the newest" in caplog.text


@pytest.fixture
def router() -> object:
    with respx.mock(base_url=URL, assert_all_called=False) as router:
        yield router


@pytest.fixture
async def control() -> object:
    async with httpx.AsyncClient() as http:
        yield Control(URL, http)


class TestVllm:
    @pytest.fixture
    def server(self, control: Control) -> VllmServer:
        return VllmServer(control, 1, False, 0.2)

    @pytest.mark.parametrize(
        ("sleeping", "paused", "seen"),
        [
            (httpx.Response(200, json={"is_sleeping": True}), None, Seen.ASLEEP),
            (httpx.Response(200, json={"is_sleeping": False}), httpx.Response(404), Seen.AWAKE),
            (
                httpx.Response(200, json={"is_sleeping": False}),
                httpx.Response(200, json={"is_paused": True}),
                Seen.ASLEEP,
            ),
            (httpx.Response(200, json={"is_sleeping": False}), httpx.Response(500, text="?"), Seen.GONE),
            (httpx.Response(500, json={"error": {}}), None, Seen.GONE),
            (httpx.Response(200, text="<html>"), None, Seen.GONE),
            (httpx.Response(200, json=[]), None, Seen.GONE),
            (httpx.Response(200, json="x"), None, Seen.GONE),
        ],
    )
    async def test_what_it_is_seen_to_be(
        self,
        router: respx.MockRouter,
        server: VllmServer,
        sleeping: httpx.Response,
        paused: httpx.Response | None,
        seen: Seen,
    ) -> None:
        router.get("/is_sleeping").mock(return_value=sleeping)
        router.get("/is_paused").mock(return_value=paused)
        assert await server.look() is seen

    @pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json=[]), httpx.Response(200)])
    async def test_no_version_is_no_vllm(
        self, router: respx.MockRouter, server: VllmServer, answer: httpx.Response
    ) -> None:
        router.get("/version").mock(return_value=answer)
        with pytest.raises(OffloadRefused, match="is it vLLM"):
            await server.sleep()

    async def test_one_that_sleeps_is_not_woken_to_be_put_to_sleep(
        self, router: respx.MockRouter, server: VllmServer
    ) -> None:
        """Training may have the memory."""
        router.get("/version").mock(return_value=httpx.Response(200, json={"version": "0.32.0"}))
        router.get("/is_sleeping").mock(return_value=httpx.Response(200, json={"is_sleeping": True}))
        posts = router.post().mock(return_value=httpx.Response(200))
        await server.sleep()
        assert [call.request.url.path for call in posts.calls] == ["/sleep"]

    @pytest.mark.parametrize(
        "page",
        [
            httpx.Response(500, text="Internal Server Error"),
            httpx.Response(404, json={"detail": "Not Found"}),
            httpx.Response(200, text="# metrics are off"),
            httpx.Response(
                200, text='vllm:num_requests_running{engine="0"} 0.0\nvllm:num_requests_running{engine="1"} 2.0'
            ),
        ],
    )
    async def test_a_server_that_may_be_busy_is_not_put_to_sleep(
        self, router: respx.MockRouter, server: VllmServer, page: httpx.Response
    ) -> None:
        """Before 0.17 a /sleep kills what runs."""
        router.get("/version").mock(return_value=httpx.Response(200, json={"version": "0.10.0"}))
        router.get("/is_sleeping").mock(return_value=httpx.Response(200, json={"is_sleeping": False}))
        router.get("/is_paused").mock(return_value=httpx.Response(404))
        router.get("/metrics").mock(return_value=page)
        sleep = router.post("/sleep")
        with pytest.raises(OffloadError, match="requests of others did not finish"):
            await server.sleep()
        assert not sleep.called


class TestSglang:
    @pytest.fixture
    def server(self, control: Control) -> SglangServer:
        return SglangServer(control, 5.0)

    def answers(self, router: respx.MockRouter, ready: int, version: str = "v7") -> list[str]:
        """What it is told: paths, and the versions that are noted."""
        told: list[str] = []

        def note(request: httpx.Request) -> httpx.Response:
            told.append(json.loads(request.content or b"{}").get("new_version", request.url.path))
            return httpx.Response(200, json=None)

        router.get("/server_info").mock(return_value=httpx.Response(200, json={**INFO, "weight_version": version}))
        router.get("/ready").mock(return_value=httpx.Response(ready))
        router.post().mock(side_effect=note)
        return told

    async def test_it_is_paused_and_idle_before_anything_is_released(
        self, router: respx.MockRouter, server: SglangServer
    ) -> None:
        told = self.answers(router, 200)
        await server.sleep()
        assert told == ["/pause_generation", "/flush_cache", "v7+genrm-released", "/release_memory_occupation"]

    async def test_what_is_released_is_not_released_again(self, router: respx.MockRouter, server: SglangServer) -> None:
        """That would kill it. But a stranger may have continued it."""
        told = self.answers(router, 200, "v7+genrm-released")
        await server.sleep()
        assert told == ["/pause_generation"]

    @pytest.mark.parametrize(
        ("noted", "steps"),
        [
            ("+genrm-released", ["/pause_generation", "v7+genrm-resumed", "/resume_memory_occupation", "v7"]),
            ("+genrm-resumed", ["v7"]),
            ("", []),
        ],
    )
    async def test_waking_goes_on_where_it_was_left(
        self, router: respx.MockRouter, server: SglangServer, noted: str, steps: list[str]
    ) -> None:
        """Resuming what is not released would kill it."""
        told = self.answers(router, 503, "v7" + noted)
        ready = [httpx.Response(status) for status in (503, 503, 200, 200)]
        router.get("/ready").mock(side_effect=ready)
        await server.wake(False)
        assert told == [*steps, "/continue_generation"]

    async def test_a_failed_check_of_its_health_does_not_keep_it_unready(
        self, router: respx.MockRouter, server: SglangServer
    ) -> None:
        self.answers(router, 503)
        ready = [httpx.Response(503)]
        router.get("/ready").mock(side_effect=lambda _request: ready[0])

        def healthy(_request: httpx.Request) -> httpx.Response:
            ready[0] = httpx.Response(200)
            return httpx.Response(200)

        router.get("/health").mock(side_effect=healthy)
        await server.wake(False)

    async def test_an_awake_one_is_left_alone(self, router: respx.MockRouter, server: SglangServer) -> None:
        told = self.answers(router, 200)
        await server.wake(False)
        assert told == []

    @pytest.mark.parametrize("key", INFO)
    async def test_a_server_without_the_flag_is_refused(
        self, router: respx.MockRouter, server: SglangServer, key: str
    ) -> None:
        told = self.answers(router, 200)
        router.get("/server_info").mock(return_value=httpx.Response(200, json={**INFO, key: False}))
        with pytest.raises(OffloadRefused, match="--" + key.replace("_", "-")):
            await server.sleep()
        assert told == []

    @pytest.mark.parametrize("info", [httpx.Response(404, text="nothing"), httpx.Response(200, json=[1])])
    async def test_a_server_that_says_nothing_of_itself_is_refused(
        self, router: respx.MockRouter, server: SglangServer, info: httpx.Response
    ) -> None:
        self.answers(router, 200)
        router.get("/server_info").mock(return_value=info)
        with pytest.raises(OffloadRefused, match="is it SGLang"):
            await server.sleep()

    async def test_a_reload_that_cannot_be_is_an_error_of_ours(
        self, router: respx.MockRouter, server: SglangServer
    ) -> None:
        router.get("/model_info").mock(return_value=httpx.Response(503, text="busy"))
        with pytest.raises((OffloadError, JudgeError)):
            await server.reload()

    async def test_a_router_without_workers_is_refused(self, router: respx.MockRouter, control: Control) -> None:
        router.get("/workers").mock(return_value=httpx.Response(200, json={"workers": []}))
        with pytest.raises(OffloadRefused, match="has no workers"):
            await workers_behind(control)

    async def test_the_workers_behind_a_router(self, router: respx.MockRouter, control: Control) -> None:
        router.get("/workers").mock(return_value=httpx.Response(200, json={"workers": [{"url": "http://a:1"}]}))
        assert await workers_behind(control) == ["http://a:1"]
        router.get("/workers").mock(return_value=httpx.Response(404))
        assert await workers_behind(control) == [URL]
