"""What others do to the judge's server behind our back."""

from __future__ import annotations

import asyncio

import pytest

from genrm import Judge, Settings
from judged_samples import (
    Factory,
    Make,
    a_strangers_request,
    expected,
    post,
    run,
    score,
    told,
)
from offload_support import eventually


class TestStrangers:
    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.28.0", "vllm-0.23.0"])
    @pytest.mark.parametrize("path", ["/sleep", "/sleep?level=0", "/pause", "/sleep?mode=keep"])
    def test_a_stranger_in_the_middle(
        self, mock_server_factory: Factory, settings: Make, profile: str, path: str
    ) -> None:
        """What it aborted is asked again, what hangs goes on, and no attempt is used up by it."""
        server = mock_server_factory(profile=profile, tokens_per_second=400)
        mine = settings(server, MAX_RETRIES=1, MAX_WORKERS=4)

        async def disturb() -> None:
            samples = asyncio.gather(*(score(mine, number) for number in range(8)))
            await eventually(lambda: server.engine.running == 4)
            await post(server, path)
            server.engine.tokens_per_second = 10_000
            assert await samples == expected(8)

        run(disturb())
        assert "/wake_up" in told(server)
        assert server.engine.is_sleeping

    def test_a_stranger_pauses_an_old_server(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(profile="vllm-0.16.0", tokens_per_second=400)
        mine = settings(server, MAX_RETRIES=1, MAX_WORKERS=4)

        async def disturb() -> None:
            samples = asyncio.gather(*(score(mine, number) for number in range(8)))
            await eventually(lambda: server.engine.running == 4)
            await post(server, "/pause")
            server.engine.tokens_per_second = 10_000
            assert await samples == expected(8)

        run(disturb())

    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
    def test_a_strangers_request_that_never_ends_does_not_keep_the_judge_awake(
        self, mock_server_factory: Factory, settings: Make, profile: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=20)
        mine = settings(server, BATCH_SIZE=1, DRAIN_TIMEOUT=0.2)

        async def disturb() -> None:
            async with a_strangers_request(server) as stranger:
                await score(mine, solution="")
                assert server.engine.asleep
                assert (await stranger).json()["choices"][0]["finish_reason"] == "abort"

        run(disturb())
        assert "requests of others did not finish in 0.2 s; aborted" in caplog.text

    def test_a_stranger_wakes_the_judge_while_our_sleep_drains(
        self, mock_server_factory: Factory, settings: Make
    ) -> None:
        """The contract's RACE: then the memory sleeps while the scheduler runs, and the next request would kill it."""
        server = mock_server_factory(tokens_per_second=100, gpu_semantics=True)
        mine = settings(server, BATCH_SIZE=1)

        async def race() -> None:
            async with a_strangers_request(server) as stranger:
                last = asyncio.create_task(score(mine, solution=""))
                await eventually(lambda: server.engine.is_paused)
                await post(server, "/wake_up")
                server.engine.tokens_per_second = 10_000
                await last
                assert (await stranger).status_code == 200
            assert server.engine.asleep
            assert await score(mine) == 1.0

        run(race())
        assert not server.engine.dead

    def test_a_loop_that_ends_while_its_sleep_drains(self, mock_server_factory: Factory, settings: Make) -> None:
        """Its sleep goes on in the server; who wakes the judge next finishes it first."""
        server = mock_server_factory(tokens_per_second=100, gpu_semantics=True)
        mine = Settings.load(**{name.lower(): value for name, value in settings(server, IDLE_LINGER=0.1).items()})
        leaves, stays = Judge(mine), Judge(mine)

        async def disturb() -> None:
            from genrm import Sample

            def a_sample(number: int) -> Sample:
                return Sample(f"{number} + 2 = {number + 2}", str(number + 2), "m", {"question": f"{number} + 2?"})

            async with a_strangers_request(server) as stranger:
                server.engine.tokens_per_second = 10_000
                assert (await leaves.judge(a_sample(1))).verdict.value
                assert (await stays.judge(a_sample(2))).verdict.value
                server.engine.tokens_per_second = 100
                await eventually(lambda: server.engine.is_paused)
                closing = [asyncio.create_task(leaves.aclose())]
                server.engine.tokens_per_second = 10_000
                for number in range(3, 9):
                    assert (await stays.judge(a_sample(number))).verdict.value
                await asyncio.wait(closing)
                assert (await stranger).status_code == 200
            await stays.aclose()

        run(disturb())
        assert not server.engine.dead
        assert server.engine.asleep
