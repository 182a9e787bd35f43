"""Settings of a judge that sleeps, and workers that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from judged_samples import (
    Crew,
)
from mock_server import MockServer


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The settings of a judge at a server: nothing sleeps by itself, and nothing is asked but samples."""

    def make(server: MockServer | str, **more: Any) -> dict[str, Any]:
        return {
            "BASE_URL": server if isinstance(server, str) else server.base_url,
            "USE_OFFLOAD": True,
            "OFFLOAD_LEDGER": "file",
            "OFFLOAD_DIR": str(tmp_path / "ledger"),
            "IDLE_LINGER": 60,
            "CANARY": "off",
            "BASE_DELAY": 0,
            "ON_NO_VERDICT": "raise",
            **more,
        }

    return make


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    """What workers say on stderr; it is shown when a test fails."""
    log = tmp_path / "workers.log"
    yield log
    if log.exists():
        print(log.read_text())


@pytest.fixture
def crew(worker_log: Path) -> Callable[[dict[str, Any]], Crew]:
    """Hire workers with these settings; none outlives the `async with`."""
    return lambda settings: Crew(settings, worker_log)
