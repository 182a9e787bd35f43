"""Async functions for callers that can only block."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from genrm import SampleError
from genrm.blocking import run_blocking
from genrm.reward_function import compute_score_sync

PATIENCE = 30.0


async def here() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_all_threads_share_one_loop_and_wait_at_once() -> None:
    together = 8
    arrived = 0
    everybody = asyncio.Event()

    async def wait_for_all() -> asyncio.AbstractEventLoop:
        nonlocal arrived
        arrived += 1
        if arrived == together:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), PATIENCE)
        return await here()

    with ThreadPoolExecutor(together) as threads:
        loops = {future.result() for future in [threads.submit(run_blocking, wait_for_all) for _ in range(together)]}
    assert loops == {run_blocking(here)}


async def test_where_a_loop_is_running() -> None:
    assert run_blocking(here) is not await here()


def test_errors_come_through() -> None:
    with pytest.raises(SampleError):
        compute_score_sync("mine", "4", "4", {})


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_a_loop_of_its_own() -> None:
    run_blocking(here)
    child = os.fork()
    if not child:
        os._exit(0 if run_blocking(here).is_running() else 1)
    assert os.waitpid(child, 0)[1] == 0
