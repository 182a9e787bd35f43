"""Looks every few milliseconds rather than every second, and a deadline for what would hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from genrm.offload import lease, ledger
from offload_support import PATIENCE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for what a real judge needs time for."""
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(lease, "_LOOK_PATIENCE", 0.05)
    monkeypatch.setattr(ledger, "GRACE_SECONDS", 0.05)


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """What a test starts, it ends."""
    before = asyncio.all_tasks()
    yield
    with anyio.fail_after(PATIENCE):
        while asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.sleep(0.002)
