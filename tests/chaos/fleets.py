"""What serves the judge in a drill: one vLLM, or two SGLangs behind the real router."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import sglang_router_process
from chaos.processes import Judge

TOKENS_PER_SECOND = 4000.0
_ROUTER = ["--policy", "round_robin", "--disable-health-check", "--cb-timeout-duration-secs", "1"]
_ROUTER += ["--cb-failure-threshold", "1000", "--log-level", "error"]


class Fleet(Protocol):
    """What the drill does to the judge's servers."""

    url: str
    is_sglang: bool
    journals: list[Path]
    """What servers that tell it wrote of each request, JSON lines."""

    @property
    def environment(self) -> Mapping[str, str]:
        """More variables of the workers, for this judge."""

    async def start(self) -> None:
        """Start all of it."""

    async def stop(self) -> None:
        """End all of it."""

    async def kill_one(self, chance: random.Random) -> None:
        """Kill a server; it comes back."""

    async def wake_a_part(self, chance: random.Random) -> None:
        """What a stranger does to one."""

    async def states(self) -> list[dict[str, Any] | None]:
        """What each says of itself, `{"engine": {"asleep": ...}}` among it; None where it does not answer."""

    async def claim(self, gib: float) -> bool:
        """Take so much memory of each GPU, 0 to give it back. Whether there was room."""


class MockFleet:
    """Mock servers, each with a simulated GPU of its own.

    Args:
        profile: their version.
        seed: of what they say.
        folder: for their journals.
    """

    def __init__(self, profile: str, seed: int, folder: Path) -> None:
        self.is_sglang = profile.startswith("sglang")
        flags = ["--profile", profile, "--gpu-semantics", "--seed", str(seed)]
        flags += ["--tokens-per-second", str(TOKENS_PER_SECOND)]
        if self.is_sglang:
            flags += ["--enable-memory-saver", "--enable-weights-cpu-backup"]
        self.journals = [folder / f"journal-{number}.jsonl" for number in range(2 if self.is_sglang else 1)]
        self.servers = [Judge(flags, journal) for journal in self.journals]
        self.url = self.servers[0].url
        self.environment: Mapping[str, str] = {}
        self._stack = ExitStack()

    async def start(self) -> None:
        """As `Fleet.start`."""
        for server in self.servers:
            await server.start()
        if self.is_sglang:
            urls = [server.url for server in self.servers]
            self.url = self._stack.enter_context(sglang_router_process.running(urls, *_ROUTER))

    async def stop(self) -> None:
        """As `Fleet.stop`."""
        self._stack.close()
        for server in self.servers:
            await server.kill()

    async def kill_one(self, chance: random.Random) -> None:
        """As `Fleet.kill_one`."""
        server = chance.choice(self.servers)
        await server.kill()
        await server.start()

    async def wake_a_part(self, chance: random.Random) -> None:
        """As `Fleet.wake_a_part`."""
        tag = chance.choice(["weights", "kv_cache"])
        await chance.choice(self.servers).control("POST", f"/wake_up?tags={tag}")

    async def states(self) -> list[dict[str, Any] | None]:
        """As `Fleet.states`."""
        return [await server.state() for server in self.servers]

    async def claim(self, gib: float) -> bool:
        """As `Fleet.claim`."""
        claims = {"claims": {"trainer": gib} if gib else {}}
        answers = [await server.control("PUT", "/_mock/gpu", claims) for server in self.servers]
        return all(answer and answer.get("claims") for answer in answers)
