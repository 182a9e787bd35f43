"""What the launchers must know about a kind of judge server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from judges.options import Options


@dataclass(frozen=True, slots=True)
class Program:
    """A server as it is run. The command begins with a Python, so that a container can put its own in that place."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    own_variables: tuple[str, ...] = ()
    """How the variables begin that it reads; those of whoever starts it are kept from it."""
    reads: Sequence[Path] = ()
    """Folders of this machine that it reads, for a container."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of judge server.

    Attributes:
        program: how it is run, on that port of the loopback.
        missing: what it lacks outside of a container, in one line that says what to do; None if nothing.
        is_ready: whether the server at that URL can be asked. May raise httpx.HTTPError, which is a no.
        gpu: whether it needs one.
        sleeps: whether it can be put to sleep.
        trained_here: whether its model is the tiny judge, unless another one is asked for; `program` is told its
            folder.
        image: its container's image and tag; None where it has none.
    """

    name: str
    about: str
    backend: Literal["vllm", "sglang"]
    program: Callable[[Options, int], Program]
    missing: Callable[[Options], str | None]
    is_ready: Callable[[httpx.Client, Options], bool]
    gpu: bool = False
    sleeps: bool = True
    trained_here: bool = False
    image: tuple[str, str] | None = None

    def gpus(self, options: Options) -> int:
        """How many GPUs it is on."""
        if not self.gpu:
            return 0
        return options.dp_size if self.backend == "sglang" else 1


def serves_a_model(http: httpx.Client, _options: Options) -> bool:
    """Whether vLLM, or what is like it, is up."""
    return http.get("/health").status_code == 200 and bool(http.get("/v1/models").json()["data"])


def knows_its_workers(http: httpx.Client, options: Options) -> bool:
    """Whether SGLang's router is up; it says that it is ready when it has found the first worker."""
    answer = http.get("/readiness")
    return answer.status_code == 200 and answer.json()["total_workers"] == options.dp_size
