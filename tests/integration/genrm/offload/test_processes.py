"""Many processes, one judge: one wake and one sleep a batch, whoever is killed."""

from __future__ import annotations

import asyncio

import httpx

from judged_samples import (
    CrewOf,
    Factory,
    Make,
    a_strangers_request,
    assert_manners,
    expected,
    post,
    run,
    sample,
    score,
    score_many,
    told,
)
from mock_server import MockServer
from offload_support import eventually


class TestProcesses:
    def test_a_batch_from_eight_processes_is_one_wake_and_one_sleep(
        self, mock_server_factory: Factory, settings: Make, crew: CrewOf
    ) -> None:
        server = mock_server_factory(tokens_per_second=5_000)
        httpx.post(server.base_url + "/sleep")
        asleep: list[bool] = []

        async def batch() -> None:
            async with crew(settings(server, BATCH_SIZE=64)) as team:
                team.when_done = lambda number: asleep.append(bool(server.engine.asleep))
                workers = await asyncio.gather(*(team.hire() for _ in range(8)))
                for number in range(64):
                    await workers[number % 8].give([sample(number)])
                await team.all_judged(64)
                assert asleep[-1]
                assert told(server) == ["/sleep", "/wake_up", "/sleep"]
                await team.dismiss()

        run(batch())
        assert told(server) == ["/sleep", "/wake_up", "/sleep"]
        assert len(server.requests) == 64
        assert_manners(server)

    def test_killed_with_leases(self, mock_server_factory: Factory, settings: Make, crew: CrewOf) -> None:
        """The others see it, and put the judge to sleep all the same."""
        server = mock_server_factory(tokens_per_second=100)
        mine = settings(server, IDLE_LINGER=0.2)

        async def kill() -> None:
            async with crew(mine) as team:
                worker = await team.hire()
                await worker.give([sample(number) for number in range(6)])
                await eventually(lambda: server.engine.running == 6)
                left = await worker.kill()
                assert len(left) == 6
                server.engine.tokens_per_second = 10_000
                assert await score(mine) == 1.0
                await eventually(lambda: server.engine.asleep)

        run(kill())
        assert_manners(server)

    def test_killed_while_it_wakes_the_judge(self, mock_server: MockServer, settings: Make, crew: CrewOf) -> None:
        mine = settings(mock_server)

        async def kill() -> None:
            await post(mock_server, "/sleep")
            async with crew(mine) as team:
                worker = await team.hire()
                with mock_server.faults({"match": {"path": "/wake_up"}, "fault": "hang", "times": 1}):
                    await worker.give([sample(0)])
                    await eventually(lambda: "/wake_up" in told(mock_server))
                    await worker.kill()
                    assert await score(mine) == 1.0

        run(kill())
        assert told(mock_server) == ["/sleep", "/wake_up", "/wake_up", "/sleep"]
        assert_manners(mock_server)

    def test_killed_while_it_puts_the_judge_to_sleep(
        self, mock_server: MockServer, settings: Make, crew: CrewOf
    ) -> None:
        """Whether the /sleep is still under way is not known: it is finished before the judge is woken."""
        mine = settings(mock_server, BATCH_SIZE=1)

        async def kill() -> None:
            async with crew(mine) as team:
                worker = await team.hire()
                with mock_server.faults({"match": {"path": "/sleep"}, "fault": "hang", "times": 1}):
                    await worker.give([sample(0)])
                    await eventually(lambda: "/sleep" in told(mock_server))
                    await worker.kill()
                    assert await score(mine) == 1.0
                    assert mock_server.engine.asleep

        run(kill())
        assert told(mock_server)[:3] == ["/sleep", "/sleep", "/wake_up"]
        assert_manners(mock_server)

    def test_killed_while_its_sleep_drains(self, mock_server_factory: Factory, settings: Make, crew: CrewOf) -> None:
        """The contract's RACE: a wake_up is forgotten by the sleep that still waits for a stranger's request."""
        server = mock_server_factory(tokens_per_second=100, gpu_semantics=True)
        mine = settings(server, BATCH_SIZE=1, DRAIN_TIMEOUT=0.5)

        async def kill() -> None:
            async with crew(mine) as team:
                worker = await team.hire()
                async with a_strangers_request(server) as stranger:
                    await worker.give([sample(0)])
                    await eventually(lambda: "/sleep" in told(server))
                    await eventually(lambda: server.engine.is_paused)
                    await worker.kill()
                    server.engine.tokens_per_second = 10_000
                    assert await score_many(mine, 4) == expected(4)
                    assert (await stranger).status_code == 200
                await eventually(lambda: server.engine.asleep)
                assert not server.engine.dead
                assert await score(mine) == 1.0

        run(kill())
        assert server.engine.asleep
