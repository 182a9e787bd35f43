"""A judge that was launched, as what the offload's drill plays with: nobody kills it, and a trainer is beside it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx

from genrm.settings import Settings
from genrm.workbench.offloading import opened
from judges.launch import Judge
from judges.memory import Memory


class LaunchedFleet:
    """As `chaos.fleets.Fleet`.

    Args:
        judge: what serves.
        memory: under it; None where it has none. Then it is only seen whether the judge sleeps.
        settings: for the workers, by their names without GENRM_.
    """

    def __init__(self, judge: Judge, memory: Memory | None, settings: Mapping[str, Any]) -> None:
        self.url = judge.url
        self.is_sglang = judge.backend == "sglang"
        self.journals: list[Path] = []
        self.environment = {f"GENRM_{name}": str(value) for name, value in settings.items()}
        self._settings = settings
        self._memory = memory
        self._workers = judge.workers()

    async def start(self) -> None:
        """The judge is up; it is put to sleep, as before a training."""
        async with opened(Settings.load(**self._settings)) as offload:
            assert await offload.dismiss(), "somebody else holds a lease"
        if self._memory:
            await anyio.to_thread.run_sync(self._memory.measure)

    async def stop(self) -> None:
        """The judge goes on."""
        if self._memory:
            await anyio.to_thread.run_sync(self._memory.close)

    async def kill_one(self, chance: random.Random) -> None:
        """Other tests need it."""
        raise AssertionError("a launched judge is not killed: let server_killed be 0")

    async def wake_a_part(self, chance: random.Random) -> None:
        """As `Fleet.wake_a_part`."""
        raise AssertionError("a launched judge is left alone: let part_woken be 0")

    async def states(self) -> list[dict[str, Any] | None]:
        """As `Fleet.states`."""
        return [{"engine": {"asleep": await is_asleep(url, self.is_sglang)}} for url in self._workers]

    async def claim(self, gib: float) -> bool:
        """As `Fleet.claim`; how much there is to take the memory knows better."""
        if self._memory is None:
            return all([await is_asleep(url, self.is_sglang) for url in self._workers])
        if gib:
            return await anyio.to_thread.run_sync(self._memory.take)
        await anyio.to_thread.run_sync(self._memory.give_back)
        return True


async def is_asleep(url: str, is_sglang: bool) -> bool:
    """What a server says of itself."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        if is_sglang:
            return (await http.get("/ready")).status_code == 503
        return bool((await http.get("/is_sleeping")).raise_for_status().json()["is_sleeping"])
