"""The judge's memory over real sockets: who wakes it, and who puts it to sleep."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from genrm import SampleError
from genrm.reward_function import compute_score, compute_score_batch
from judged_samples import (
    OLD_AND_NEW,
    RIGHT,
    Factory,
    Make,
    assert_manners,
    expected,
    run,
    score,
    score_many,
    told,
)
from mock_server import MockServer
from offload_support import eventually


class TestAsItShould:
    @pytest.mark.parametrize("profile", [*OLD_AND_NEW, "vllm-0.10.0"])
    def test_the_first_wakes_and_the_last_sleeps(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=5_000)
        mine = settings(server)

        async def two_batches() -> None:
            assert await score_many(mine, 20) == expected(20)
            assert not server.engine.asleep
            assert await score_many(mine, 20) == expected(20)

        httpx.post(server.base_url + "/sleep")
        run(two_batches())
        assert server.engine.asleep == {"weights", "kv_cache"}
        assert [path for path in told(server) if path in ("/sleep", "/wake_up")] == ["/sleep", "/wake_up", "/sleep"]
        assert len(server.requests) == 40
        assert_manners(server)

    def test_an_awake_judge_is_not_told_to_wake(self, mock_server: MockServer, settings: Make) -> None:
        run(score_many(settings(mock_server), 4))
        assert told(mock_server) == ["/sleep"]

    def test_after_the_linger(self, mock_server: MockServer, settings: Make) -> None:
        async def pause() -> None:
            await score_many(settings(mock_server, IDLE_LINGER=0.1), 4)
            await eventually(lambda: mock_server.engine.asleep)
            assert told(mock_server) == ["/sleep"]

        run(pause())

    @pytest.mark.parametrize("profile", ["vllm-0.32.0", "vllm-0.16.0"])
    def test_with_the_last_of_a_batch_before_its_reward_is_returned(
        self, mock_server_factory: Factory, settings: Make, profile: str
    ) -> None:
        server = mock_server_factory(profile=profile, tokens_per_second=5_000)
        mine = settings(server, BATCH_SIZE=8)
        asleep: list[bool] = []

        async def one(number: int, **more: Any) -> None:
            await score(mine, number, **more)
            asleep.append(bool(server.engine.asleep))

        async def batch() -> None:
            await asyncio.gather(*(one(number) for number in range(6)), one(0, solution=""))
            assert not any(asleep)
            await one(9, split="test")  # by the rule: no sample of the batch
            assert not any(asleep)
            await one(11)
            assert asleep[-1]
            await one(13)  # of the next batch: it wakes again
            assert not asleep[-1]

        run(batch())
        assert_manners(server)

    def test_what_counts_as_a_sample_of_the_batch(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, BATCH_SIZE=4, VALIDATION="judge")

        async def batch() -> None:
            await score(mine, 0, split="val")  # judged, and none of the batch
            await score(mine, 0, split="test")
            await score(mine, 1, solution=" ")
            with pytest.raises(SampleError):
                await compute_score("mine", RIGHT, "4", {"split": "train"}, **mine)
            with pytest.raises(SampleError):
                await compute_score("mine", None, "4", {"question": "?"}, **mine)  # type: ignore[arg-type]
            assert told(mock_server) == []
            await score(mine, 0)
            assert told(mock_server) == ["/sleep"]

        run(batch())

    def test_two_event_loops_of_a_process_are_two_users(self, mock_server_factory: Factory, settings: Make) -> None:
        server = mock_server_factory(tokens_per_second=2_000)
        mine = settings(server)
        results: dict[int, list[float]] = {}

        def work(name: int) -> None:
            results[name] = run(score_many(mine, 10))

        httpx.post(server.base_url + "/sleep")
        threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == dict.fromkeys(range(3), expected(10))
        assert server.engine.asleep
        assert_manners(server)

    def test_a_script_leaves_the_judge_asleep(self, mock_server: MockServer, settings: Make) -> None:
        httpx.post(mock_server.base_url + "/sleep")
        count = 8
        records = compute_score_batch(
            ["m"] * count,
            [f"{n} + 2 = {n + 2 + n % 2}, so \\boxed{{{n + 2 + n % 2}}}" for n in range(count)],
            [str(n + 2) for n in range(count)],
            [{"question": f"{n} + 2?"} for n in range(count)],
            **settings(mock_server),
        )
        assert [record["score"] for record in records] == expected(count)
        assert told(mock_server) == ["/sleep", "/wake_up", "/sleep"]
        assert mock_server.engine.asleep

    def test_several_servers_wake_and_sleep_together(self, mock_server_factory: Factory, settings: Make) -> None:
        servers = [mock_server_factory(tokens_per_second=5_000) for _ in range(2)]
        httpx.post(servers[1].base_url + "/sleep")
        mine = settings(servers[0], BASE_URL=",".join(server.base_url for server in servers))
        assert run(score_many(mine, 20)) == expected(20)
        for server in servers:
            assert server.engine.asleep
            assert len(server.requests) > 2
            assert_manners(server)

    def test_canaries_are_asked_after_each_wake(self, mock_server: MockServer, settings: Make) -> None:
        run(score_many(settings(mock_server, CANARY="on"), 2))
        assert len(mock_server.requests) == 10
