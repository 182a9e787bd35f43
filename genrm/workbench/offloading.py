"""`genrm offload`: who needs the judge awake, and sleep and wake by hand, by the ledger that training runs use."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec

import anyio
from rich.console import Console
from rich.text import Text

from genrm.errors import OffloadError, SettingsError
from genrm.judge import Judge
from genrm.offload.gateway import open_offload
from genrm.offload.lease import Offload
from genrm.offload.ledger import Entry, State
from genrm.offload.servers import Seen
from genrm.settings import Settings


async def show_status(settings: Settings, console: Console) -> int:
    """Print what the servers are and who holds leases. Returns the exit code: 1 where a server is gone."""
    async with opened(settings) as offload:
        seen, state = await offload.look(), await offload.state()
    for url, what in seen.items():
        _print(console, f"{url} is {what.value}")
    age = f" for {time.time() - state.since:,.0f} s" if state.since else ""
    _print(console, f"the ledger says {state.phase.value}{age}; {state.wakes} wakes, {state.sleeps} sleeps")
    if settings.batch_size:
        _print(console, f"{state.scored} of {settings.batch_size} samples of the batch are scored")
    for line in describe_holders(state) or ["nobody holds a lease"]:
        _print(console, line)
    _print(console, f"the ledger is {offload.ledger}")
    return 1 if Seen.GONE in seen.values() else 0


async def put_to_sleep(settings: Settings, console: Console, force: bool) -> int:
    """Put the judge to sleep. Returns the exit code: 1 where somebody holds a lease, and not `force`."""
    began = time.monotonic()
    async with opened(settings) as offload:
        with _patience(settings.sleep_timeout, "the judge did not fall asleep"):
            slept = await offload.dismiss(force=force)
        holders = describe_holders(await offload.state())
    if not slept:
        _print(console, "the judge is needed, and was left awake (--force puts it to sleep all the same):", "red")
        for line in holders:
            _print(console, line, "red")
        return 1
    _print(console, f"the judge is asleep, after {time.monotonic() - began:.1f} s")
    return 0


async def wake_up(settings: Settings, console: Console) -> int:
    """Wake the judge and leave it awake. Returns the exit code."""
    began = time.monotonic()
    async with opened(settings) as offload, offload.awake():
        with _patience(settings.wake_timeout, "the judge did not wake up"):
            # The ledger may say so, and a stranger have put it to sleep.
            await offload.restored(offload.wakes)
    _print(console, f"the judge is awake, after {time.monotonic() - began:.1f} s")
    return 0


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Offload]:
    """The offload of the judge, by the ledger that its other users have. Leaving it leaves the judge as it is.

    Raises:
        SettingsError: the backend cannot sleep.
        OffloadError: the ledger cannot be reached.
    """
    if settings.server_backend == "openai":
        raise SettingsError("GENRM_SERVER_BACKEND was 'openai'; an external API has no memory that could be given back")
    join_cluster(settings.offload_ledger)
    offload = open_offload(settings, Judge(settings).render_canary)
    try:
        yield offload
    finally:
        with anyio.CancelScope(shield=True):
            await offload.aclose(and_sleep=False)


def join_cluster(ledger: str) -> None:
    """Connect to the Ray cluster of this host, if there is one: a training run in it keeps the ledger there.

    Args:
        ledger: the setting; only "ray" needs a cluster.

    Raises:
        OffloadError: there is none, and it is needed.
    """
    if ledger == "file" or (ledger == "auto" and find_spec("ray") is None):
        return
    try:
        import ray

        if not ray.is_initialized():
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except (ImportError, ConnectionError) as error:
        if ledger == "ray":
            raise OffloadError(f"GENRM_OFFLOAD_LEDGER is ray, and there is no Ray cluster here: {error}") from None
    except RuntimeError as error:  # of another version of Ray or Python
        raise OffloadError(f"the Ray cluster of this host cannot be joined: {error}") from None


def describe_holders(state: State) -> list[str]:
    """A line for each who holds a lease."""
    return list(_lines(entry for entry in state.entries.values() if entry.leases))


def _lines(entries: Iterator[Entry]) -> Iterator[str]:
    for entry in entries:
        where = {True: "on this host", False: "on this host, dead", None: "on another host or in another container"}
        leases = "1 lease" if entry.leases == 1 else f"{entry.leases} leases"
        silence = max(0.0, time.time() - entry.beat)
        yield f"pid {entry.holder.pid} ({where[entry.holder.is_alive()]}) holds {leases}; heard of {silence:.1f} s ago"


@contextmanager
def _patience(seconds: float, what: str) -> Iterator[None]:
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise OffloadError(f"{what} within {seconds:g} s") from None


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)
