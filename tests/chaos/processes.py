"""The processes of the drill: a mock server that is killed and comes back on its port, and workers that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx

from judges.ports import free_port

_START_SECONDS = 60.0


class Judge:
    """A mock server in a process of its own. Its journal is a file, which outlives it.

    Args:
        flags: of genrm-mock.
        journal: the file.
    """

    def __init__(self, flags: list[str], journal: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "mock_server", "--port", str(self.port), "--journal", str(journal)]
        self._command += flags
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, "VLLM_SERVER_DEV_MODE": "1"},
            stdout=asyncio.subprocess.DEVNULL,
        )
        with anyio.fail_after(_START_SECONDS):
            while await self.state() is None:
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._process is not None
        with suppress(ProcessLookupError):  # it has ended by itself
            self._process.kill()
        await self._process.wait()

    async def state(self) -> dict[str, Any] | None:
        """What its control API says of it; None where it does not answer."""
        return await self.control("GET", "/_mock/state")

    async def control(self, method: str, path: str, json: object = None) -> dict[str, Any] | None:
        """A call that the reward function does not make; None where nobody answers."""
        try:
            async with httpx.AsyncClient(timeout=10) as http:
                response = await http.request(method, self.url + path, json=json)
        except httpx.HTTPError:
            return None
        # Older servers answer some calls, and crash in others, without a word of JSON.
        answer: dict[str, Any] = response.json() if "json" in response.headers.get("content-type", "") else {}
        return answer


class Worker:
    """A process of the training run that scores samples.

    Args:
        environment: its GENRM_* variables.
        on_outcome: called with what it makes of each sample.
        log: takes what it says on stderr.
    """

    def __init__(self, environment: dict[str, str], on_outcome: Callable[[dict[str, Any]], None], log: Path) -> None:
        self.unanswered: dict[str, dict[str, Any]] = {}
        """The samples that it has been given and has not answered."""
        self._environment = environment
        self._on_outcome = on_outcome
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(Path(__file__).with_name("worker.py"))),
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        await self._process.stdout.readline()
        self._reading = asyncio.create_task(self._read())

    async def give(self, samples: list[dict[str, Any]]) -> None:
        """Let it score these, too."""
        assert self._process is not None
        assert self._process.stdin is not None
        for sample in samples:
            self.unanswered[sample["id"]] = sample
            self._process.stdin.write(json.dumps(sample).encode() + b"\n")
        await self._process.stdin.drain()

    async def kill(self) -> list[dict[str, Any]]:
        """End it by SIGKILL. Returns the samples that it leaves behind."""
        assert self._process is not None
        assert self._reading is not None
        with suppress(ProcessLookupError):  # it has ended by itself
            self._process.kill()
        await self._process.wait()
        await self._reading
        left, self.unanswered = list(self.unanswered.values()), {}
        return left

    async def stop(self) -> int:
        """Let it end by itself. Returns its exit code."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self._process.wait()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            outcome = json.loads(line)
            del self.unanswered[outcome["id"]]
            self._on_outcome(outcome)
