"""What an engine can be told, and what differs between the engines of server versions (contract sections 2 and 5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Scheduling(enum.Enum):
    """What the scheduler does: all; nothing new; nothing at all."""

    RUN = "run"
    PAUSED_NEW = "paused_new"
    PAUSED_ALL = "paused_all"


class Mode(str, enum.Enum):
    """What a pause does to the requests in flight: end them, let them finish, freeze them."""

    ABORT = "abort"
    WAIT = "wait"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class EngineRules:
    """How one version's engine behaves; the defaults are those of vLLM 0.32.0. Profiles say what is different."""

    sleep_pauses: bool = True
    """/sleep pauses the scheduler first, and /wake_up resumes it. Otherwise the two have nothing to do with each other:
    /sleep takes the memory away under whatever runs, and a pause is a gate before the engine that only /resume opens.
    """
    wakes_at_once: bool = False
    """Any /wake_up resumes the scheduler, whatever still sleeps."""
    sleeps_again: bool = True
    """A sleep while the weights are awake takes them again. Otherwise it takes nothing while anything sleeps."""
    sleep_clears_cache: bool = True
    """The prefix cache is emptied with the memory under it. Otherwise it hits what is no longer there."""
    shows_waking: bool = True
    """While partly awake the metrics still show the sleep. Otherwise any /wake_up shows as awake."""
    dies_on_unmapped: bool = False
    """Computing on memory that sleeps kills the engine, as on a GPU. Otherwise it works, as on a CPU."""
