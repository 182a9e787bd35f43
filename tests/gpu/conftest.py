"""The judge of this session, started by the launchers with the options of `nox -s gpu_e2e`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from genrm.settings import Settings
from genrm.workbench.offloading import opened
from judges import cases, memory
from judges.host import StartError
from judges.launch import Judge, lacks, launched
from judges.memory import Memory
from judges.options import Options, add_options
from judges.programs import KINDS

POLICY = "Qwen/Qwen2.5-0.5B-Instruct"
_NEEDS_MEMORY = "{name} has no GPU memory: this needs --server vllm or sglang on a GPU, or a mock's simulated one"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The launchers' options are pytest's here."""
    group = parser.getgroup("judge", "the judge under test")
    add_options(group.addoption, list(KINDS), server=None)
    group.addoption(
        "--trainer-python",
        default=os.environ.get("TRAINER_PYTHON"),
        metavar="PATH",
        help="the Python that verl is installed for ($TRAINER_PYTHON, else this one; nox makes one for a GPU)",
    )
    group.addoption("--no-grpo", action="store_true", help="without the GRPO run, and what it would install")
    group.addoption("--policy", default=POLICY, metavar="NAME", help=f"what is trained on a GPU ({POLICY})")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Whoever runs all tests has asked for no judge."""
    return None if config.option.server else True


def pytest_report_header(config: pytest.Config) -> str:
    """Which judge it is."""
    options = Options.of(config.option)
    return f"judge: {options.server or 'none (--server)'}{' in a container' if options.docker else ''}"


@pytest.fixture(scope="session")
def judge(pytestconfig: pytest.Config) -> Iterator[Judge]:
    """The judge, up. After the last test it must be gone, with its processes and its GPU memory."""
    options = Options.of(pytestconfig.option)
    if reason := lacks(options):
        pytest.exit(reason, returncode=3)
    # However this ends, the judge ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with ExitStack() as running:
        try:
            with capture.global_and_fixture_disabled():
                up = running.enter_context(launched(options))
        except StartError as error:
            pytest.exit(str(error), returncode=1)
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
