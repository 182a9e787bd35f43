"""An SGLang server, one that takes its time, and clients of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mock_server import MockServer
from sglang_support import Factory


@pytest.fixture
def sglang(mock_server_factory: Factory) -> Factory:
    """Make an SGLang server whose /health looks more often than once a second."""

    def make(**settings: Any) -> MockServer:
        return mock_server_factory(**{"profile": "sglang-0.5.23", "health_seconds": 0.01, **settings})

    return make


@pytest.fixture
def server(sglang: Factory) -> MockServer:
    return sglang()


@pytest.fixture
def http(server: MockServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, timeout=60) as client:
        yield client


@pytest.fixture
def slow_server(sglang: Factory) -> MockServer:
    return sglang(tokens_per_second=100)


@pytest.fixture
def slow(slow_server: MockServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=slow_server.base_url, timeout=60) as client:
        yield client
