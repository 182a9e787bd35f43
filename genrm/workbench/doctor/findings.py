"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(str, enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not do what is wanted."""
    FAILED = "failed"
    """Rewards will be missing or wrong."""
    SKIPPED = "skipped"
    """It could not be looked at, or there was no need to."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: how bad it is.
        what: what was found.
        fix: what to do about it; "" where there is nothing to be done.
    """

    level: Level
    what: str
    fix: str = ""


def ok(what: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what)


def warning(what: str, fix: str) -> Finding:
    """It works, and may not do what is wanted."""
    return Finding(Level.WARNING, what, fix)


def failed(what: str, fix: str) -> Finding:
    """Rewards will be missing or wrong."""
    return Finding(Level.FAILED, what, fix)


def skipped(what: str, fix: str = "") -> Finding:
    """It could not be looked at, or there was no need to."""
    return Finding(Level.SKIPPED, what, fix)
