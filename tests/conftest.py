"""What all tests share: how much of the network each folder may see, and an environment without GENRM_ variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

TESTS = Path(__file__).parent

# A loaded machine is slow; that is no failure of the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit and property tests open no socket; integration tests reach loopback only."""
    folder = request.path.relative_to(TESTS).parts[0]
    if folder in ("unit", "property"):
        disable_socket(allow_unix_socket=True)  # event loops talk to themselves over one
    else:
        socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("GENRM_"):
            monkeypatch.delenv(name)
