"""A sleep gives the GPU's memory back, and a wake takes it again: by NVML, or by the mock's simulated GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from genrm.settings import Settings
from genrm.workbench.offloading import opened
from judges.fleet import is_asleep
from judges.launch import Judge
from judges.memory import Memory

SHARE = 0.7
"""Of what an awake judge holds at least so much must come back: all but CUDA's context, graphs and buffers."""
SLACK_GIB = 1.0
"""So much more or less may be in use once it is awake again."""


@pytest.fixture(params=[1, 2], ids=["level 1", "level 2"])
def slept_at(request: pytest.FixtureRequest, judge: Judge, settings: dict[str, Any]) -> Settings:
    """The settings of an offload at that level."""
    if judge.backend == "sglang" and request.param == 2:
        pytest.skip("SGLang has no levels: it gives weights and cache back, and keeps a copy of the weights")
    # At level 2 the weights are gone, and must be loaded again.
    return Settings.load(**settings, SLEEP_LEVEL=request.param, RELOAD_WEIGHTS=request.param == 2)


@pytest.mark.usefixtures("can_sleep")
async def test_it_sleeps_and_wakes_and_knows_what_it_knew(judge: Judge, slept_at: Settings) -> None:
    async with opened(slept_at) as offload:
        assert await offload.dismiss()
        asleep = [await is_asleep(url, judge.backend == "sglang") for url in judge.workers()]
        async with offload.awake():  # raises JudgeGarbage if the canaries have other verdicts than known
            awake = [await is_asleep(url, judge.backend == "sglang") for url in judge.workers()]
    assert all(asleep)
    assert not any(awake)


@pytest.mark.usefixtures("can_sleep")
async def test_sleep_gives_memory_back_and_wake_takes_it(judge: Judge, slept_at: Settings, gpu_memory: Memory) -> None:
    async with opened(slept_at) as offload:
        async with offload.awake():
            before = gpu_memory.used()
        assert await offload.dismiss()
        asleep = gpu_memory.used()
        async with offload.awake():
            after = gpu_memory.used()
    held = before - judge.memory_before
    assert before - asleep > SHARE * held, f"{before - asleep:.1f} of {held:.1f} GiB came back"
    assert after == pytest.approx(before, abs=SLACK_GIB)


@pytest.mark.usefixtures("can_sleep")
async def test_a_trainer_fits_beside_it_only_while_it_sleeps(slept_at: Settings, gpu_memory: Memory) -> None:
    async with opened(slept_at) as offload:
        assert await offload.dismiss()
        gpu_memory.measure()
        assert gpu_memory.take()
        gpu_memory.give_back()
        async with offload.awake():
            assert not gpu_memory.take()
