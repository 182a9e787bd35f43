"""A server as a process of its own, with all the processes that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil

from judges.host import LeftBehindError, StartError
from judges.programs.program import Program
from judges.surroundings import proxies

STOP_SECONDS = 60.0
"""A server that has been asked to end is given so long."""
KILL_SECONDS = 30.0
_MARK = "JUDGE_LAUNCH"


class ProcessHost:
    """Runs a program in a session of its own.

    Args:
        program: the server.
        log: the file for what it writes.
        stop_seconds: how long it may take to end when it is asked to; None: STOP_SECONDS.
    """

    def __init__(self, program: Program, log: Path, stop_seconds: float | None = None) -> None:
        self._program = program
        self._log = log
        self._stop_seconds = STOP_SECONDS if stop_seconds is None else stop_seconds
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As `Host.start`."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(self._program.own_variables or ("\0",))}
        local = {**proxies(), _MARK: self._mark}
        with self._log.open("wb") as output:
            try:
                self._process = subprocess.Popen(
                    list(self._program.command),
                    env={**inherited, **self._program.environment, **local},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is ours to handle
                )
            except OSError as error:
                raise StartError(f"{self._program.command[0]} cannot be run: {error.strerror}") from None

    def ended(self) -> str | None:
        """As `Host.ended`."""
        code = self._started.poll()
        return None if code is None else f"ended with exit code {code}"

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start() comes first"
        return self._process

    @property
    def how_to_stop(self) -> str:
        """As `Host.how_to_stop`."""
        return f"kill -- -{self._started.pid}"

    def members(self) -> list[psutil.Process]:
        """The server's processes that live, also where their parents are gone and where they left its group.

        An engine's workers rename themselves, which destroys the mark, and make groups of their own, which does not
        take them out of the session.
        """
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:  # whoever should wait for it does not: it holds nothing
                return False
            if os.getsid(process.pid) == self._started.pid:
                return True
            return process.environ().get(_MARK) == self._mark
        except (psutil.Error, OSError):  # it has ended, or belongs to somebody else
            return False

    def stop(self) -> str:
        """As `Host.stop`."""
        began = time.monotonic()
        with suppress(ProcessLookupError):
            os.killpg(self._started.pid, signal.SIGTERM)
        polite = False
        try:
            polite = self._are_gone_within(self._stop_seconds)
        finally:
            if not polite:  # also where a second Ctrl-C has ended the wait
                self._kill()
        if not polite and not self._are_gone_within(KILL_SECONDS):
            left = ", ".join(map(_describe, self.members()))
            raise LeftBehindError(f"{KILL_SECONDS:g} s after SIGKILL these are left: {left}")
        how = "ended" if polite else f"did not end by SIGTERM in {self._stop_seconds:g} s, and was killed"
        return f"{how} (code {self._started.returncode}, {time.monotonic() - began:.1f} s); no process of it is left"

    def _kill(self) -> None:
        for process in self.members():
            with suppress(psutil.Error):
                process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._started.wait(KILL_SECONDS)

    def _are_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._started.poll() is None or self.members():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def _describe(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} ({' '.join(process.cmdline())[:100]})"
    return str(process.pid)
