"""Where the ledger of a judge is kept, so that all its users share it: a file for a host, a Ray actor for a cluster.

A store applies calls one after the other, each to what the one before left behind, whoever made it, and whoever is
killed meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from genrm.errors import OffloadError
from genrm.offload.ledger import Answer, Call, Ledger, Policy, State

_FORMAT = 1
"""Of what is kept; raised when `State` changes, so that two versions of genrm do not share a ledger."""
_BUSY_SECONDS = 30.0
_NAMESPACE = "genrm"
"""Of Ray's actors."""


class Store(Protocol):
    """Keeps one judge's ledger. Bound to the event loop that it is used in.

    Attributes:
        where: it is kept, for messages.
    """

    where: str

    async def apply(self, calls: Sequence[Call]) -> list[Answer]:
        """Apply the calls, in their order and with none of others between them.

        Raises:
            OffloadError: the ledger cannot be read or written.
        """

    async def read(self) -> State:
        """What the ledger remembers, unchanged by looking. Raises OffloadError as above."""

    async def aclose(self) -> None:
        """Let go of it. What is kept stays."""


class FileStore:
    """Keeps a ledger in a file of this host (SQLite: a process that is killed leaves it whole).

    Args:
        path: the file; made with its folder where they are not there.
        policy: when the judge may sleep.
    """

    def __init__(self, path: Path, policy: Policy) -> None:
        self.path = path
        self.where = str(path)
        self._policy = policy
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Which file the connection is to."""
        # SQLite waits for its lock in this thread, not in the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="genrm-ledger")

    async def apply(self, calls: Sequence[Call]) -> list[Answer]:
        """As `Store.apply`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._apply, calls)

    async def read(self) -> State:
        """As `Store.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)

    async def aclose(self) -> None:
        """As `Store.aclose`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _apply(self, calls: Sequence[Call]) -> list[Answer]:
        with self._transaction() as connection:
            ledger = Ledger(self._policy, _state_in(connection))
            answers = [ledger.apply(call, time.time()) for call in calls]
            connection.execute("REPLACE INTO ledger VALUES (0, ?)", (ledger.state.model_dump_json(),))
        return answers

    def _read(self) -> State:
        if not self.path.exists():
            return State()
        with self._transaction() as connection:
            return _state_in(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._opened()
            with connection:  # commits, or rolls back
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except (OSError, sqlite3.Error, ValueError) as error:
            self._close()
            raise OffloadError(
                f"the ledger of who needs the judge awake cannot be used: {error}. It is {self.path}; remove it, or "
                "give another folder with GENRM_OFFLOAD_DIR (the same for all that use this judge)"
            ) from None

    def _opened(self) -> sqlite3.Connection:
        if self._connection and self._identity() != self._file:
            self._close()  # somebody has removed the file: the others meet in a new one
        if self._connection:
            return self._connection
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        self._file = self._identity()
        # What a crash of the whole machine would lose, its reboot has made void.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TABLE IF NOT EXISTS ledger (only INTEGER PRIMARY KEY CHECK (only = 0), state TEXT)")
        return connection

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _state_in(connection: sqlite3.Connection) -> State:
    row = connection.execute("SELECT state FROM ledger").fetchone()
    return State.model_validate_json(row[0]) if row else State()


class RayStore:
    """Keeps a ledger in a named actor of the Ray cluster that this process is connected to.

    Args:
        name: of the judge.
        policy: when the judge may sleep; for the calls of this store.
    """

    def __init__(self, name: str, policy: Policy) -> None:
        self._name = f"genrm-offload-{_FORMAT}-{name}"
        self.where = f"the Ray actor {self._name}"
        self._policy = policy
        self._actor: Any = None

    async def apply(self, calls: Sequence[Call]) -> list[Answer]:
        """As `Store.apply`."""
        for attempt in (1, 2):
            if self._actor is None:
                # It waits for the cluster.
                self._actor = await asyncio.get_running_loop().run_in_executor(None, self._find)
            import ray

            try:
                answers: list[Answer] = await asyncio.wrap_future(self._call(calls))
                return answers
            except ray.exceptions.RayActorError as error:
                # Its node is gone, and what it knew; signs of life tell the next one.
                self._actor = None
                if attempt == 2:
                    raise OffloadError(f"the Ray actor that keeps the ledger is gone: {error}") from None
            except ray.exceptions.RayError as error:
                raise OffloadError(f"the Ray actor that keeps the ledger cannot be asked: {error}") from None
        raise AssertionError

    async def read(self) -> State:
        """As `Store.read`."""
        _require_ray()
        import ray

        try:
            actor = self._actor or ray.get_actor(self._name, namespace=_NAMESPACE)
            state: State = await asyncio.wrap_future(actor.read.remote().future())
        except ValueError:
            return State()  # nobody has used it yet
        except ray.exceptions.RayError as error:
            raise OffloadError(f"the Ray actor that keeps the ledger cannot be asked: {error}") from None
        return state

    async def aclose(self) -> None:
        """As `Store.aclose`."""
        self._actor = None

    def _call(self, calls: Sequence[Call]) -> Any:
        return self._actor.apply.remote(list(calls), self._policy).future()

    def _find(self) -> Any:
        _require_ray()
        import ray

        options = {"name": self._name, "namespace": _NAMESPACE, "get_if_exists": True, "lifetime": "detached"}
        return ray.remote(_RayLedger).options(num_cpus=0, max_restarts=-1, **options).remote()


class _RayLedger:
    """The actor: one ledger in memory. Ray runs its calls one after the other.

    It outlives its users, so that it takes no policy from the first of them.
    """

    def __init__(self) -> None:
        self._state = State()

    def apply(self, calls: Sequence[Call], policy: Policy) -> list[Answer]:
        ledger = Ledger(policy, self._state)
        return [ledger.apply(call, time.time()) for call in calls]

    def read(self) -> State:
        return self._state


def open_store(kind: str, urls: Sequence[str], folder: str, policy: Policy) -> Store:
    """The store of the ledger of the judge at `urls`. Launches with other URLs do not meet.

    Args:
        kind: "file", "ray", or "auto": ray where this process is connected to a cluster.
        urls: of the judge's servers, in any order.
        folder: for ledgers in files; "" for one of this user in the system's folder for temporary files.
        policy: when the judge may sleep.
    """
    known_as = sorted(url.lower().replace("//localhost", "//127.0.0.1") for url in urls)
    name = hashlib.sha256(" ".join(known_as).encode()).hexdigest()[:16]
    if kind == "ray" or (kind == "auto" and _in_ray()):
        return RayStore(name, policy)
    # Not by name: a container's user may have none, and a process may be told another one (LOGNAME).
    home = Path(folder) if folder else Path(tempfile.gettempdir(), f"genrm-{os.getuid()}")
    return FileStore(home / f"offload-{_FORMAT}-{name}.sqlite", policy)


def _in_ray() -> bool:
    ray = sys.modules.get("ray")  # it is not imported for this: that takes seconds
    return ray is not None and bool(ray.is_initialized())


def _require_ray() -> None:
    # Ray would start a cluster of its own for one who is not connected, and nobody else would be in it.
    if not _in_ray():
        raise OffloadError(
            "GENRM_OFFLOAD_LEDGER was 'ray', and this process is not connected to a Ray cluster (ray.init): it cannot "
            "see who needs the judge awake. Connect it, or set file for all that use this judge"
        )
