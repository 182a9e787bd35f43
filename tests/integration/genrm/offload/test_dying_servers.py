"""A judge whose server dies."""

from __future__ import annotations

import asyncio

import pytest

from genrm import NoVerdictError, Reason
from judged_samples import (
    Factory,
    Make,
    assert_manners,
    expected,
    post,
    run,
    score,
    score_many,
)
from mock_server import MockServer
from offload_support import eventually


class TestTheServerDies:
    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
    def test_and_comes_back_in_the_middle_of_a_batch(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=400)
        mine = settings(server, BATCH_SIZE=12, MAX_RETRIES=1, MAX_WORKERS=6)

        async def die() -> None:
            samples = asyncio.gather(*(score(mine, number) for number in range(12)))
            await eventually(lambda: server.engine.running == 6)
            await post(server, "/_mock/kill?restart_after_s=0.3")
            server.engine.tokens_per_second = 10_000
            assert await samples == expected(12)

        run(die())
        assert server.engine.asleep
        assert_manners(server)

    @pytest.mark.parametrize("path", ["/wake_up", "/sleep", "/is_sleeping", "/version"])
    def test_and_comes_back_while_it_wakes_or_falls_asleep(
        self, mock_server: MockServer, settings: Make, path: str
    ) -> None:
        mine = settings(mock_server, BATCH_SIZE=4, MAX_RETRIES=1)
        death = {"match": {"path": path}, "times": 1, "fault": {"engine_death": {"restart_after_s": 0.2}}}

        async def die() -> None:
            await post(mock_server, "/sleep")
            with mock_server.faults(death):
                assert await score_many(mine, 4) == expected(4)

        run(die())
        assert mock_server.engine.asleep

    def test_and_stays_dead(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, SAMPLE_TIMEOUT=0.5, WAKE_TIMEOUT=0.5)

        async def die() -> None:
            assert await score(mine) == 1.0
            with mock_server.faults({"fault": "engine_death"}), pytest.raises(NoVerdictError) as caught:
                await score(mine, 1)
            assert caught.value.reason == Reason.TIMEOUT
            with pytest.raises(NoVerdictError) as caught:  # one that finds it gone
                await score(mine, 2)
            assert caught.value.reason == Reason.TIMEOUT

        run(die())

    def test_before_anything_was_asked(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, WAKE_TIMEOUT=0.3)
        mock_server.stop()
        with pytest.raises(NoVerdictError, match=r"did not wake up within 0\.3 s"):
            run(score(mine))
