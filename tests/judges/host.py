"""What runs a server: a process of this machine (`processes`), or a container (`containers`)."""

from __future__ import annotations

from typing import Protocol


class StartError(RuntimeError):
    """A judge server did not come up."""


class LeftBehindError(RuntimeError):
    """A server has been ended, and something of it is still there."""


class Host(Protocol):
    """Runs one server. What it writes goes to a file."""

    def start(self) -> None:
        """Start it. Raises StartError where that cannot even be tried."""

    def ended(self) -> str | None:
        """How it ended by itself; None while it runs."""

    def stop(self) -> str:
        """End it, politely at first, and all that belongs to it; also what it left behind when it ended by itself.

        Returns:
            How that went, in words.

        Raises:
            LeftBehindError: something of it is still there.
        """

    @property
    def how_to_stop(self) -> str:
        """What a person types to end it who has kept it."""
