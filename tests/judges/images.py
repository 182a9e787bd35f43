"""The image of a container: pulled where it is not here, for as long as that takes, with its progress shown."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from rich.console import Console

from judges import docker_engine
from judges.host import StartError

SAY_SECONDS = 10.0
"""Where there is no terminal a line is written so often."""
_GB = 1e9


def have(image: str, console: Console) -> None:
    """See to it that an image, with its tag, is here.

    Raises:
        StartError: it cannot be had.
    """
    from docker.errors import ImageNotFound
    from docker.utils import parse_repository_tag

    try:
        with closing(docker_engine.client()) as engine:
            try:
                engine.images.get(image)
            except ImageNotFound:
                repository, tag = parse_repository_tag(image)
                _show(image, engine.api.pull(repository, tag=tag, stream=True, decode=True), console)
    except docker_engine.failures() as error:
        raise StartError(f"the image {image} cannot be had: {error}") from None


def _show(image: str, news: Iterable[Mapping[str, Any]], console: Console) -> None:
    """What the engine tells while it pulls, to its end."""
    layers: dict[str, tuple[float, float]] = {}
    last = time.monotonic()
    with console.status(f"pulling {image}") as status:
        for item in news:
            if "error" in item:
                raise StartError(f"the image {image} cannot be had: {item['error']}")
            if item.get("status") == "Downloading":
                detail = item["progressDetail"]
                layers[item["id"]] = detail.get("current", 0), detail.get("total", 0)
            text = f"pulling {image}: {_sum(layers, 0):.1f} of {_sum(layers, 1):.1f} GB"
            status.update(text)
            if not console.is_terminal and time.monotonic() - last >= SAY_SECONDS:
                last = time.monotonic()
                console.print(text, markup=False, highlight=False, soft_wrap=True)


def _sum(layers: Mapping[str, tuple[float, float]], which: int) -> float:
    return sum(layer[which] for layer in layers.values()) / _GB
