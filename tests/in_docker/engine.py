"""A Docker engine: the one that answers, else one that is started for the tests and ended after them."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import docker
from docker.errors import DockerException

START_SECONDS = 60
END_SECONDS = 60


class NoEngine(Exception):
    """Why there is none."""


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """A client of an engine.

    Raises:
        NoEngine: none answers, and none can be started.
    """
    with ExitStack() as stack:
        client = _client_of(docker.from_env) or docker.DockerClient(stack.enter_context(_own_engine()))
        yield stack.enter_context(closing(client))


def _client_of(make: Callable[[], docker.DockerClient]) -> docker.DockerClient | None:
    """A client, or None where nobody answers: it asks for the engine's version when it is made."""
    with suppress(DockerException):
        return make()
    with warnings.catch_warnings():
        # The SDK leaves it to the garbage collector to close the socket that it had tried.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return None


@contextmanager
def _own_engine() -> Iterator[str]:
    """Start dockerd in a temporary folder; its socket. It makes no bridge and leaves the firewall alone."""
    program = shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/sbin")
    if not program or sys.platform != "linux" or os.geteuid() != 0:
        raise NoEngine("no Docker engine answers, and one can only be started by root where dockerd is installed")
    folder = Path(tempfile.mkdtemp(prefix="genrm-docker-"))
    socket = f"unix://{folder}/socket"
    command = [program, "-H", socket, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    command += ["--pidfile", f"{folder}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    command += ["--ip-forward=false", "--ip-masq=false"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(socket, process, log)
        yield socket
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _unmount_in(folder)
        shutil.rmtree(folder)


def _wait_until_ready(socket: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (client := _client_of(partial(docker.DockerClient, socket))) is None:
        if time.monotonic() > deadline or process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise NoEngine(f"dockerd was started and does not serve: {''.join(last)}")
        time.sleep(0.1)
    client.close()


def _unmount_in(folder: Path) -> None:
    """dockerd leaves its network's name mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mounted = line.split()[1]
        if folder in Path(mounted).parents:
            subprocess.run(["umount", mounted], check=True)
