"""An engine, the images, and containers that do not outlive their test."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.images import Image

    from in_docker.images import Builder

PATIENCE = 120.0
"""Seconds; for a machine that has come to a halt."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base", default="python:3.12-slim", help="The image that those of ci/ start from.")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """Of a Docker engine."""
    pytest.importorskip("docker", reason="the Docker SDK is not installed; nox -s docker brings it")
    from in_docker.engine import NoEngine, engine

    try:
        with engine() as made:
            yield made
    except NoEngine as error:
        give_up = pytest.fail if os.environ.get("MUST_RUN") else pytest.skip
        give_up(str(error))


@pytest.fixture(scope="session")
def builder(client: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    from in_docker.images import Builder

    return Builder(client, request.config.getoption("--base"), tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def mock_image(builder: Builder) -> Image:
    """ci/mock.Dockerfile."""
    return builder.build("mock.Dockerfile")


@dataclass
class Mock:
    """A mock judge in a container."""

    container: Container
    base_url: str

    @property
    def health(self) -> str:
        """What the engine says of it: starting, healthy, unhealthy."""
        self.container.reload()
        return str(self.container.attrs["State"]["Health"]["Status"])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Fails, with its log, where that never comes."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.container.logs().decode()
            time.sleep(0.1)


@pytest.fixture
def start_mock(client: Any, mock_image: Image) -> Iterator[Callable[..., Mock]]:
    """Start a mock, as strictly as ci/compose.yaml does: call it with flags of genrm-mock."""
    containers = []

    def start(*flags: str) -> Mock:
        port = _free_port()
        container = client.containers.run(
            mock_image.id,
            list(flags),
            environment={"MOCK_SERVER_HOST": "127.0.0.1", "MOCK_SERVER_PORT": str(port)},
            network_mode="host",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            detach=True,
        )
        containers.append(container)
        return Mock(container, f"http://127.0.0.1:{port}")

    yield start
    for container in containers:
        container.remove(force=True)


def _free_port() -> int:
    """One that no outgoing connection takes meanwhile: a killed server's port must be free when it starts again."""
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
