"""Whether the memory is free when the reward is out."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from genrm import JudgeGarbage, NoVerdictError
from genrm.offload import vllm
from judged_samples import (
    OLD_AND_NEW,
    Factory,
    Make,
    assert_manners,
    expected,
    post,
    run,
    score,
    score_many,
    told,
)
from mock_server import MockServer
from offload_support import eventually


class TestMemory:
    """On a simulated GPU."""

    @pytest.fixture
    def server(self, mock_server_factory: Factory) -> MockServer:
        return mock_server_factory(gpu_semantics=True, tokens_per_second=5_000)

    def test_training_still_has_the_memory(
        self, server: MockServer, settings: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vllm, "AGAIN_SECONDS", 0.02)
        mine = settings(server)

        async def wait() -> None:
            await post(server, "/sleep")
            async with httpx.AsyncClient(base_url=server.base_url) as http:
                (await http.put("/_mock/gpu", json={"claims": {"trainer": 70}})).raise_for_status()
                samples = asyncio.create_task(score_many(mine, 4))
                await eventually(lambda: told(server).count("/wake_up") > 3)
                assert not samples.done()
                (await http.put("/_mock/gpu", json={"claims": {}})).raise_for_status()
            assert await samples == expected(4)

        run(wait())
        assert_manners(server)

    def test_training_keeps_the_memory(self, server: MockServer, settings: Make) -> None:
        mine = settings(server, WAKE_TIMEOUT=0.3)

        async def wait() -> None:
            await post(server, "/sleep")
            async with httpx.AsyncClient(base_url=server.base_url) as http:
                await http.put("/_mock/gpu", json={"claims": {"trainer": 70}})
            with pytest.raises(NoVerdictError, match=r"did not wake up within 0\.3 s"):
                await score(mine)

        run(wait())
        assert server.requests == []

    def test_weights_that_are_lost_are_no_judge(self, server: MockServer, settings: Make) -> None:
        mine = settings(server, CANARY="on")
        httpx.post(server.base_url + "/sleep?level=2")  # a stranger's
        with pytest.raises(JudgeGarbage, match="GENRM_RELOAD_WEIGHTS=1"):
            run(score(mine))
        assert len(server.requests) == 8  # the canaries alone

    @pytest.mark.parametrize("profile", OLD_AND_NEW)
    def test_weights_that_a_stranger_lost_are_loaded_once(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, gpu_semantics=True)
        mine = settings(server, CANARY="on", RELOAD_WEIGHTS=True)
        httpx.post(server.base_url + "/sleep?level=2")
        assert run(score_many(mine, 4)) == expected(4)
        assert told(server).count("/collective_rpc") == 1

    @pytest.mark.parametrize("profile", OLD_AND_NEW)
    def test_level_2_loads_them_with_each_wake(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, gpu_semantics=True)
        mine = settings(server, CANARY="on", RELOAD_WEIGHTS=True, SLEEP_LEVEL=2, BATCH_SIZE=4)

        async def two_batches() -> None:
            for _ in range(2):
                assert await score_many(mine, 4) == expected(4)
                assert server.engine.asleep

        run(two_batches())
        assert told(server).count("/collective_rpc") == 1
        assert_manners(server)

    def test_a_judge_that_answers_nonsense_after_waking(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(scenario={"shapes": {"no_box": 1.0}})
        with pytest.raises(JudgeGarbage, match="0 of 8 canaries"):
            run(score(settings(server, CANARY="on")))
