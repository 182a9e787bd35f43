"""`genrm offload`: by the ledger that training runs use; in this process, and where it is said so as a command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from rich.console import Console

from genrm import JudgeGarbage, JudgeTimeout, OffloadError, Settings, SettingsError
from genrm.judge import Judge
from genrm.offload.gateway import open_offload
from genrm.offload.lease import Offload
from genrm.workbench.offloading import put_to_sleep, show_status, wake_up
from genrm_command import run
from mock_server.server import MockServer

Tool = Callable[..., Awaitable[int]]
Servers = Callable[..., MockServer]


@pytest.fixture(autouse=True)
def _ledgers_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRM_OFFLOAD_DIR", str(tmp_path / "ledgers"))


def is_sleeping(server: MockServer) -> bool:
    return bool(httpx.get(f"{server.base_url}/is_sleeping").json()["is_sleeping"])


def command(server: MockServer, *arguments: str, **environment: object) -> tuple[int, str, str]:
    """Run the command: its exit code, stdout and stderr."""
    result = run("offload", *arguments, GENRM_BASE_URL=server.base_url, **environment)
    return result.returncode, result.stdout, result.stderr


async def use(tool: Tool, server: MockServer, *arguments: bool, **settings: object) -> tuple[int, str]:
    """Use a tool in this process: its exit code, and what it prints."""
    file = io.StringIO()
    code = await tool(Settings.load(base_url=server.base_url, **settings), Console(file=file), *arguments)
    return code, file.getvalue()


async def sleep(server: MockServer, force: bool = False) -> tuple[int, str]:
    return await use(put_to_sleep, server, force)


async def wake(server: MockServer, **settings: object) -> tuple[int, str]:
    return await use(wake_up, server, **settings)


async def status(server: MockServer, **settings: object) -> tuple[int, str]:
    return await use(show_status, server, **settings)


def run_python(code: str, **environment: object) -> int:
    """Run some Python in a process. Returns its exit code."""
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    return subprocess.run([sys.executable, "-c", code], env=variables, check=False, timeout=120).returncode


@asynccontextmanager
async def user(server: MockServer) -> AsyncIterator[Offload]:
    """Another process's way to the judge, as a training run has one (in this process)."""
    settings = Settings.load(base_url=server.base_url, use_offload=True, idle_linger=300)
    its = open_offload(settings, Judge(settings).render_canary)
    try:
        yield its
    finally:
        await its.aclose(and_sleep=False)


class TestSleepAndWake:
    def test_there_and_back_as_a_command(self, mock_server: MockServer) -> None:
        code, out, err = command(mock_server, "sleep")
        assert (code, err) == (0, "")
        assert out.startswith("the judge is asleep, after ")
        assert is_sleeping(mock_server)
        code, out, _ = command(mock_server, "wake")
        assert code == 0
        assert out.startswith("the judge is awake, after ")
        assert not is_sleeping(mock_server)
        assert len(mock_server.requests) == 8  # the canaries

    async def test_twice_is_once(self, mock_server: MockServer) -> None:
        for _ in range(2):
            assert (await sleep(mock_server))[0] == 0
        assert [exchange.path for exchange in mock_server.journal] == ["/sleep"]
        for _ in range(2):
            assert (await wake(mock_server))[0] == 0
        assert not is_sleeping(mock_server)

    async def test_whatever_a_stranger_did(self, mock_server: MockServer) -> None:
        assert (await sleep(mock_server))[0] == 0
        httpx.post(f"{mock_server.base_url}/wake_up")
        assert (await sleep(mock_server))[0] == 0
        assert is_sleeping(mock_server)
        assert (await wake(mock_server))[0] == 0
        httpx.post(f"{mock_server.base_url}/sleep")
        assert (await wake(mock_server))[0] == 0
        assert not is_sleeping(mock_server)

    async def test_one_of_two_that_a_stranger_woke(self, mock_server_factory: Servers) -> None:
        first, second = mock_server_factory(), mock_server_factory()
        both = Settings.load(base_url=f"{first.base_url},{second.base_url}")
        assert await put_to_sleep(both, Console(file=io.StringIO()), False) == 0
        httpx.post(f"{second.base_url}/wake_up")
        assert await put_to_sleep(both, Console(file=io.StringIO()), False) == 0
        assert is_sleeping(first)
        assert is_sleeping(second)

    async def test_while_a_run_that_needs_it_not_is_alive(self, mock_server: MockServer) -> None:
        async with user(mock_server) as its:
            async with its.awake():
                pass
            while (await its.state()).leases:  # nobody waits for a lease to be given back
                await anyio.sleep(0.01)
            assert (await sleep(mock_server))[0] == 0
            assert is_sleeping(mock_server)
            async with its.awake():
                assert not is_sleeping(mock_server)

    async def test_refused_while_it_is_needed(self, mock_server: MockServer) -> None:
        async with user(mock_server) as its, its.awake(), its.awake():
            code, out = await sleep(mock_server)
            assert code == 1
            assert "the judge is needed, and was left awake (--force" in out
            assert f"pid {os.getpid()} (on this host) holds 2 leases; heard of" in out
            assert not is_sleeping(mock_server)

            assert (await sleep(mock_server, force=True))[0] == 0
            assert is_sleeping(mock_server)

    async def test_the_dead_need_nothing(self, mock_server: MockServer) -> None:
        code = (
            "import asyncio, os\n"
            "from genrm import Judge, Settings\n"
            "from genrm.offload.gateway import open_offload\n"
            "async def main():\n"
            "    settings = Settings.load()\n"
            "    async with open_offload(settings, Judge(settings).render_canary).awake():\n"
            "        os._exit(9)\n"
            "asyncio.run(main())\n"
        )
        assert run_python(code, GENRM_BASE_URL=mock_server.base_url, GENRM_USE_OFFLOAD=1) == 9
        assert "(on this host, dead) holds 1 lease" in (await status(mock_server))[1]
        assert (await sleep(mock_server))[0] == 0
        assert is_sleeping(mock_server)


class TestStatus:
    async def test_who_needs_it(self, mock_server: MockServer) -> None:
        code, out = await status(mock_server)
        assert code == 0
        lines = out.splitlines()
        assert lines[:3] == [
            f"{mock_server.base_url} is awake",
            "the ledger says unknown; 0 wakes, 0 sleeps",
            "nobody holds a lease",
        ]
        async with user(mock_server) as its, its.awake():
            lines = (await status(mock_server))[1].splitlines()
            assert lines[1].startswith("the ledger says awake for ")
            assert lines[2].startswith(f"pid {os.getpid()} (on this host) holds 1 lease; heard of ")

    async def test_looking_changes_nothing(self, mock_server: MockServer, tmp_path: Path) -> None:
        await status(mock_server)
        assert not (tmp_path / "ledgers").exists()
        async with user(mock_server) as its, its.awake():
            before = await its.state()
            await status(mock_server)
            after = await its.state()
        assert before.entries.keys() == after.entries.keys()
        assert mock_server.journal == mock_server.requests

    async def test_a_batch_under_way(self, mock_server: MockServer) -> None:
        assert "0 of 512 samples of the batch are scored" in (await status(mock_server, batch_size=512))[1]

    async def test_one_that_is_gone(self, mock_server_factory: Servers) -> None:
        server = mock_server_factory()
        server.stop()
        code, out = await status(server)
        assert code == 1
        assert f"{server.base_url} is gone" in out


class TestRefused:
    def test_no_dev_mode(self, mock_server_factory: Servers) -> None:
        code, out, err = command(mock_server_factory(dev_mode=False), "sleep")
        assert (code, out) == (1, "")
        [line] = err.splitlines()
        assert "has no /is_sleeping, so it cannot be put to sleep. Start vLLM with VLLM_SERVER_DEV_MODE=1" in line

    def test_a_wrong_setting(self, mock_server: MockServer) -> None:
        code, _, err = command(mock_server, "status", GENRM_MAX_RETRIES="many")
        assert code == 2
        assert "GENRM_MAX_RETRIES was 'many'" in err

    async def test_an_external_api(self, mock_server: MockServer) -> None:
        with pytest.raises(SettingsError, match="an external API has no memory that could be given back"):
            await status(mock_server, server_backend="openai")

    async def test_one_that_wakes_up_mad(self, mock_server_factory: Servers) -> None:
        server = mock_server_factory(scenario={"shapes": {"no_box": 1.0}})
        await sleep(server)
        with pytest.raises(JudgeGarbage, match="gave the known verdict on 0 of 8 canaries"):
            await wake(server)

    async def test_one_that_does_not_wake_up(self, mock_server_factory: Servers) -> None:
        server = mock_server_factory(scenario={"faults": [{"match": {"path": "/wake_up"}, "fault": {"status": 500}}]})
        await sleep(server)
        with pytest.raises(JudgeTimeout, match=r"did not wake up within 0\.5 s"):
            await wake(server, wake_timeout=0.5)

    async def test_ray_where_there_is_none(self, mock_server: MockServer) -> None:
        with pytest.raises(OffloadError, match="GENRM_OFFLOAD_LEDGER is ray, and there is no Ray cluster here"):
            await status(mock_server, offload_ledger="ray")


@pytest.mark.parametrize("words", [("--help",), ("sleep", "--help"), ()])
def test_the_help(words: tuple[str, ...]) -> None:
    result = run("offload", *words)
    assert "sleep" in result.stdout + result.stderr
