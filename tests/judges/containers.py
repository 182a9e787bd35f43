"""A server as a Docker container.

It shares the host's network, as SGLang's router names its workers by ports that nobody knows beforehand, and the host's
shared memory, through which an engine's processes talk. Its log is followed into a file.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from judges.host import LeftBehindError, StartError
from judges.programs.program import Program

STOP_SECONDS = 60
_CACHE = "/root/.cache/huggingface"


def missing() -> str | None:
    """Why there is no Docker here; None where there is."""
    try:
        import docker
    except ImportError:
        return "--docker needs the Docker SDK: pip install docker"
    try:
        docker.from_env().ping()
    except Exception as error:  # docker's, requests', urllib3's: whichever is nearest to the socket
        return f"--docker needs a Docker engine that answers ({error}): start one, or set DOCKER_HOST"
    return None


class ContainerHost:
    """Runs a program in a container; the image brings its Python.

    Args:
        program: the server.
        image: with its tag.
        log: the file for what it writes.
        gpu: whether it is given the GPUs of this machine.
        model: a folder of this machine that it reads, mounted at the same place.
    """

    def __init__(self, program: Program, image: str, log: Path, gpu: bool, model: Path | None) -> None:
        import docker

        self._docker = docker
        self._client = docker.from_env()
        self._program = program
        self._image = image
        self._log = log
        self._gpu = gpu
        self._model = model
        self._name = f"genrm-judge-{uuid.uuid4().hex[:12]}"
        self._container: Any = None
        self._follower: threading.Thread | None = None

    def start(self) -> None:
        """As `Host.start`. Pulls the image where it is not here."""
        self._log.write_bytes(b"")
        try:
            self._container = self._client.containers.run(
                self._image,
                # Whatever the image runs by itself is another version's way to start it.
                entrypoint="python3",
                command=list(self._program.command[1:]),
                name=self._name,
                environment={**self._program.environment, "HF_HOME": _CACHE},
                volumes=self._volumes(),
                network_mode="host",
                ipc_mode="host",
                device_requests=self._devices(),
                detach=True,
            )
        except self._docker.errors.DockerException as error:
            self._remove()  # it may have been created, and not started
            raise StartError(f"the image {self._image} cannot be run: {error}") from None
        self._follower = threading.Thread(target=self._follow, name="container log", daemon=True)
        self._follower.start()

    def _volumes(self) -> dict[str, dict[str, str]]:
        cache = Path.home() / ".cache" / "huggingface"
        cache.mkdir(parents=True, exist_ok=True)
        volumes = {str(cache): {"bind": _CACHE, "mode": "rw"}}
        if self._model:
            volumes[str(self._model)] = {"bind": str(self._model), "mode": "ro"}
        return volumes

    def _devices(self) -> list[Any]:
        return [self._docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])] if self._gpu else []

    def _follow(self) -> None:
        with suppress(Exception), self._log.open("ab", buffering=0) as log:  # ends with the container, however it ends
            for chunk in self._container.logs(stream=True, follow=True):
                log.write(chunk)

    def ended(self) -> str | None:
        """As `Host.ended`."""
        try:
            self._container.reload()
        except self._docker.errors.NotFound:
            return "was removed by somebody"
        if self._container.status not in ("exited", "dead"):
            return None
        if self._follower:
            self._follower.join(10)  # the reason is in the last lines
        return f"ended with exit code {self._container.attrs['State'].get('ExitCode')}"

    @property
    def how_to_stop(self) -> str:
        """As `Host.how_to_stop`."""
        return f"docker rm --force {self._name}"

    def stop(self) -> str:
        """As `Host.stop`."""
        with suppress(self._docker.errors.NotFound):
            self._container.stop(timeout=STOP_SECONDS)
        if self._follower:
            self._follower.join(10)
        self._remove()
        if self._client.containers.list(all=True, filters={"name": self._name}):
            raise LeftBehindError(f"the container {self._name} is still there: docker rm --force {self._name}")
        self._client.close()
        return "ended; its container is gone"

    def _remove(self) -> None:
        with suppress(self._docker.errors.NotFound):
            self._client.containers.get(self._name).remove(force=True)
