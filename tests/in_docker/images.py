"""Images built from the Dockerfiles in ci/."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image

from in_docker import base_image

ROOT = Path(__file__).resolve().parents[2]
OWN_BASE = "genrm-base:own"
BUILD_TOOLS = ("hatchling", "pip>=25.1")
"""What pip asks for while it installs the project, besides what the project asks for."""


class Builder:
    """Builds in a folder of its own, which holds what .dockerignore lets through.

    Args:
        client: of the engine.
        base: the image to start from, pulled if need be; where it cannot be, one is made of this Python.
        folder: for the context, and for wheels where there is no network.
    """

    def __init__(self, client: docker.DockerClient, base: str, folder: Path) -> None:
        self._client = client
        self._wanted = base
        self._context = folder
        for name in _let_through((ROOT / ".dockerignore").read_text()):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / name).exists():
                shutil.copy(ROOT / name, folder)

    @cached_property
    def base(self) -> str:
        """What the images start from: the wanted one, or OWN_BASE."""
        try:
            self._client.images.get(self._wanted)
        except ImageNotFound:
            try:
                self._client.images.pull(self._wanted)
            except DockerException as error:
                print(f"{self._wanted} cannot be had ({error}); the base is made of {sys.executable}")
                base_image.make(self._client, OWN_BASE)
                return OWN_BASE
        return self._wanted

    def build(self, dockerfile: str, *more: str) -> Image:
        """Build one. `more`: what it installs besides the project, as arguments of pip."""
        arguments = {"BASE": self.base}
        if self.base == OWN_BASE:
            # What cannot pull an image is unlikely to reach a package index, either: this machine's pip does.
            command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(self._context / "wheels")]
            subprocess.run([*command, *BUILD_TOOLS, str(ROOT), *more], cwd=ROOT, check=True)
            arguments["PIP_NO_INDEX"] = "1"
        image, _log = self._client.images.build(
            path=str(self._context),
            dockerfile=f"ci/{dockerfile}",
            buildargs=arguments,
            network_mode="host",
            tag=f"genrm-{dockerfile.split('.')[0]}:tested",
            rm=True,
            forcerm=True,
        )
        return image


def _let_through(patterns: str) -> Iterable[str]:
    return [line[1:] for line in patterns.splitlines() if line.startswith("!") and line != "!wheels"]
