"""Fixtures for tests against a mock judge. Loaded by every pytest run of whoever installs this: it imports nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mock_server.server import MockServer


@pytest.fixture
def mock_server_factory() -> Iterator[Callable[..., MockServer]]:
    """Start mock servers: call it with the arguments of MockServer. All are stopped after the test."""
    from mock_server.server import MockServer

    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(MockServer(**config))


@pytest.fixture
def mock_server(mock_server_factory: Callable[..., MockServer]) -> MockServer:
    """A mock server with the bundled scenario and dev mode on."""
    return mock_server_factory()
