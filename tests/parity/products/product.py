"""What parity must know about a server that the mock is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from parity.cases import Request
from parity.exchange import Exchange

FOLDER = Path(__file__).parents[1]

Ask: TypeAlias = Callable[[Request], Exchange]
"""Sends a request and returns when it has been answered."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """A way to start a server, the real one and the mock alike."""

    arguments: tuple[str, ...] = ()
    """For the real server's command line."""
    environment: Mapping[str, str] = field(default_factory=dict)
    mock: Mapping[str, Any] = field(default_factory=dict)
    """Options of MockServer."""
    controlled: bool = True
    """Whether it can be put to sleep or paused, so that it must be woken after a case."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What a request must carry that controls it."""
    dies: bool = False
    """Whether its cases are the end of the server, so that each has one of its own."""


@dataclass(frozen=True, slots=True)
class Product:
    """A server that the mock is compared with."""

    name: str
    title: str
    version: str
    flavours: Mapping[str, Flavour]
    short: str
    """The flavour that the short form plays."""
    mock: Mapping[str, Any]
    """Options of MockServer, for every flavour."""
    command: Callable[[str, Path, int], list[str]]
    """The real server's command line, from its Python, the model's folder and a port."""
    environment: Mapping[str, str]
    own_variables: str
    """How the variables begin that it reads; those of whoever runs this are kept from it."""
    model: tuple[str, ...]
    """For the command line of tiny_model.py."""
    metrics: str
    """A regular expression for the names of the metrics that rest while nothing is asked of it."""
    running: str
    """The gauge of requests that are worked on."""
    wake: tuple[Request, ...]
    """What makes it work again, whatever a case did to it."""
    is_idle: Callable[[Ask, Mapping[str, str]], bool]
    """Whether it works on nothing; the second argument are the flavour's headers."""
    state: Callable[[Ask], dict[str, Any]]
    """What it says about itself."""

    @property
    def cases(self) -> Path:
        """The folder of its cases."""
        return FOLDER / "cases" / self.name

    @property
    def recordings(self) -> Path:
        """The folder of its recordings."""
        return FOLDER / "recordings" / f"{self.name}-{self.version}"
