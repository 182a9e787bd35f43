"""Leases of those who fail, give up or wait."""

from __future__ import annotations

import asyncio

import pytest

from genrm import NoVerdictError
from judged_samples import (
    Factory,
    Make,
    assert_manners,
    run,
    score,
    told,
)
from mock_server import MockServer
from offload_support import eventually


class TestLeases:
    def test_an_error_gives_the_lease_back(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, IDLE_LINGER=0.1, MAX_RETRIES=1)

        async def fail() -> None:
            with mock_server.faults({"fault": {"status": 400}}), pytest.raises(NoVerdictError):
                await score(mine)
            await eventually(lambda: mock_server.engine.asleep)

        run(fail())

    def test_a_cancelled_sample_gives_the_lease_back(self, mock_server: MockServer, settings: Make) -> None:
        mine = settings(mock_server, IDLE_LINGER=0.1)

        async def cancel() -> None:
            with mock_server.faults({"fault": "hang"}):
                tasks = [asyncio.create_task(score(mine, number)) for number in range(5)]
                await eventually(lambda: len(mock_server.requests) == 5)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            await eventually(lambda: mock_server.engine.asleep)
            assert told(mock_server) == ["/sleep"]

        run(cancel())

    def test_nobody_sleeps_while_a_lease_is_held(self, mock_server_factory: Factory, settings: Make) -> None:
        """A sample that takes far longer than the linger."""
        server = mock_server_factory(tokens_per_second=1_000)
        mine = settings(server, IDLE_LINGER=0.02)
        assert run(score(mine)) == 1.0
        assert told(server) == ["/sleep"]
        assert_manners(server)
