"""The Docker engine of this machine: the SDK's client of it, and how that fails."""

from __future__ import annotations

from contextlib import closing
from typing import Any

ANSWER_SECONDS = 300.0
"""So long it may take to answer: it makes a container of an image of many GB."""


def client() -> Any:
    """A client. Raises one of `failures()`."""
    import docker

    return docker.from_env(timeout=ANSWER_SECONDS)


def failures() -> tuple[type[Exception], ...]:
    """What the client raises: its own errors, and those of whatever is nearest to the socket."""
    import docker
    import urllib3

    return (docker.errors.DockerException, urllib3.exceptions.HTTPError, OSError)  # requests' are OSErrors


def missing() -> str | None:
    """Why there is no Docker here; None where there is."""
    try:
        with closing(client()) as engine:
            engine.ping()
    except ImportError:
        return "--docker needs the Docker SDK: pip install docker"
    except failures() as error:
        return f"--docker needs a Docker engine that answers ({error}): start one, or set DOCKER_HOST"
    return None
