"""Who holds a lease: one event loop of one process, told apart from all others, also from those long dead."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from uuid import uuid4

import psutil
from pydantic import BaseModel

# Both times are reckoned from clock ticks, and the clock may be set between asking for one and the other.
_START_TOLERANCE = 2.0


class Holder(BaseModel, frozen=True):
    """One event loop of a process.

    Attributes:
        host: where pids mean the same: a boot of a machine, and its pid namespace (a container has its own).
        pid: of the process.
        started: when the process started, in seconds since the system did; pids are used again. Since 1970 would not
            do: the system reckons that from the boot, so that it moves when the clock is set.
        serial: tells the loops of a process apart.
    """

    host: str
    pid: int
    started: float
    serial: str

    @classmethod
    def here(cls) -> Holder:
        """A new one for the running process."""
        pid = os.getpid()
        return cls(host=_host(), pid=pid, started=_started(psutil.Process(pid)), serial=uuid4().hex)

    @property
    def key(self) -> str:
        """Its name in a ledger."""
        return f"{self.pid}-{self.serial}"

    def is_alive(self) -> bool | None:
        """Whether the process lives; None where that cannot be told from here."""
        if self.host != _host():
            return None
        try:
            process = psutil.Process(self.pid)
            # A killed worker stays a zombie until its parent looks.
            return abs(_started(process) - self.started) < _START_TOLERANCE and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return None


def _started(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()


@cache
def _host() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    if boot.exists() and namespace.exists():
        return f"{boot.read_text().strip()} {os.readlink(namespace)}"
    return platform.node()
