"""TRL's door: the end of a batch is known there, so that the judge sleeps without a batch size and without a linger."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from genrm.trl import reward_function
from judged_samples import Make, assert_manners, run, told
from mock_server import MockServer


def batch(count: int) -> dict[str, Any]:
    numbers = range(count)
    return {
        "prompts": [f"What is {number} + 2?" for number in numbers],
        "completions": [f"{number} + 2 = {number + 2 + number % 2}" for number in numbers],
    }


def expected(count: int) -> list[float]:
    return [1.0 - number % 2 for number in range(count)]


def test_it_sleeps_between_batches_of_one_loop(mock_server: MockServer, settings: Make) -> None:
    reward = reward_function(**settings(mock_server, MAX_WORKERS=2))

    async def two_batches() -> None:
        for _ in range(2):
            assert await reward(**batch(8)) == expected(8)
            assert mock_server.engine.asleep == {"weights", "kv_cache"}

    run(two_batches())
    assert told(mock_server) == ["/sleep", "/wake_up", "/sleep"]
    assert_manners(mock_server)


def test_not_while_another_process_s_samples_are_scored(mock_server: MockServer, settings: Make) -> None:
    """Its event loop is another user of the judge."""
    reward = reward_function(**settings(mock_server))
    mock_server.engine.tokens_per_second = 500

    async def in_two_loops() -> None:
        batches = (asyncio.to_thread(asyncio.run, reward(**batch(count))) for count in (1, 16))
        assert list(await asyncio.gather(*batches)) == [expected(1), expected(16)]
        assert mock_server.engine.asleep

    run(in_two_loops())
    assert_manners(mock_server)


def test_with_a_batch_size_it_sleeps_with_the_last_of_all(mock_server: MockServer, settings: Make) -> None:
    reward = reward_function(**settings(mock_server, BATCH_SIZE=8))

    async def two_halves() -> None:
        await reward(**batch(4))
        assert not mock_server.engine.asleep
        await reward(**batch(4))
        assert mock_server.engine.asleep

    run(two_halves())


def test_a_batch_that_fails_lets_it_sleep_too(mock_server: MockServer, settings: Make) -> None:
    columns = batch(4) | {"prompts": ["What is 0 + 2?", " ", "What is 2 + 2?", "What is 3 + 2?"]}

    async def fail() -> None:
        with pytest.raises(ValueError, match="holds no problem"):
            await reward_function(**settings(mock_server))(**columns)
        assert mock_server.engine.asleep

    run(fail())


def test_rewards_are_not_lost_where_it_cannot_sleep(
    mock_server: MockServer, settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    reward = reward_function(**settings(mock_server, SLEEP_TIMEOUT=0.5))

    async def in_vain() -> None:
        with mock_server.faults({"match": {"path": "/sleep"}, "fault": {"status": {"code": 500}}}):
            assert await reward(**batch(4)) == expected(4)

    with caplog.at_level(logging.ERROR):
        run(in_vain())
    assert "a batch is over and the judge" in caplog.text
