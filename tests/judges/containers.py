"""A server as a Docker container.

It shares the host's network, as SGLang's router names its workers by ports that nobody knows beforehand, and the host's
shared memory, through which an engine's processes talk. Its log is followed into a file.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from judges import docker_engine, surroundings
from judges.host import LeftBehindError, StartError
from judges.programs.program import Program

STOP_SECONDS = 60
VOLUME = "genrm-huggingface"
"""Docker's, for what containers download: they are root, and what they left in the caller's folder would be root's."""
_CACHE = "/root/.cache/huggingface"


class ContainerHost:
    """Runs a program in a container; the image brings its Python.

    Args:
        program: the server.
        image: with its tag; it must be here.
        log: the file for what it writes.
        gpus: the UUIDs of those that it is given.
    """

    def __init__(self, program: Program, image: str, log: Path, gpus: Sequence[str]) -> None:
        import docker

        self._docker = docker
        self._client = docker_engine.client()
        self._program = program
        self._image = image
        self._log = log
        self._gpus = gpus
        self._name = f"genrm-judge-{uuid.uuid4().hex[:12]}"
        self._container: Any = None
        self._follower: threading.Thread | None = None

    def start(self) -> None:
        """As `Host.start`."""
        self._log.write_bytes(b"")
        try:
            self._container = self._client.containers.create(
                self._image,
                # Whatever the image runs by itself is another version's way to start it.
                entrypoint="python3",
                command=list(self._program.command[1:]),
                name=self._name,
                environment=self._environment(),
                volumes=self._volumes(),
                network_mode="host",
                ipc_mode="host",
                device_requests=self._devices(),
            )
            self._container.start()
        except docker_engine.failures() as error:
            raise StartError(f"the image {self._image} cannot be run: {error}{self._let_go()}") from None
        except BaseException:  # Ctrl-C, too: what has been made must not run on
            self._let_go()
            raise
        self._follower = threading.Thread(target=self._follow, name="container log", daemon=True)
        self._follower.start()

    def _let_go(self) -> str:
        """Remove what may have been made, and started; in words, where that cannot be done."""
        try:
            self._remove()
        except docker_engine.failures():
            return f"; it may be there, and run: {self.how_to_stop}"
        return ""

    def _environment(self) -> dict[str, str]:
        return {**surroundings.proxies(), **surroundings.hub(), **self._program.environment, "HF_HOME": _CACHE}

    def _volumes(self) -> dict[str, dict[str, str]]:
        volumes = {str(folder): {"bind": str(folder), "mode": "ro"} for folder in self._program.reads}
        if self._gpus and surroundings.is_offline():
            volumes[str(surroundings.hub_cache())] = {"bind": _CACHE, "mode": "ro"}
        elif self._gpus:  # an engine, which may have to download its model
            volumes[VOLUME] = {"bind": _CACHE, "mode": "rw"}
        return volumes

    def _devices(self) -> list[Any]:
        if not self._gpus:
            return []
        return [self._docker.types.DeviceRequest(device_ids=list(self._gpus), capabilities=[["gpu"]])]

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
        except docker_engine.failures() as error:
            return f"cannot be looked at, as the Docker engine does not answer ({error})"
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
        try:
            with suppress(self._docker.errors.NotFound):
                self._container.stop(timeout=STOP_SECONDS)
            if self._follower:
                self._follower.join(10)
            self._remove()
            left = self._client.containers.list(all=True, filters={"name": self._name})
        except docker_engine.failures() as error:
            raise LeftBehindError(f"the container may still be there ({error}): {self.how_to_stop}") from None
        if left:
            raise LeftBehindError(f"the container {self._name} is still there: {self.how_to_stop}")
        self._client.close()
        return "ended; its container is gone"

    def _remove(self) -> None:
        with suppress(self._docker.errors.NotFound):
            self._client.containers.get(self._name).remove(force=True)
