"""A judge that answers without a network: respx in the place of the transport."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import respx


@pytest.fixture
def judge_server() -> Iterator[respx.MockRouter]:
    """Catches every request of httpx; one that has no route fails the test."""
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router
