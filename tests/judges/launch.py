"""Bring a judge up, wait until it is ready with its log shown, and end it with nothing left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from rich.console import Console

from genrm.offload.memory import NvmlProbe
from judges import containers
from judges.host import Host, LeftBehindError, StartError
from judges.log_view import LogView, last_lines
from judges.options import SERVED_NAME, Options
from judges.ports import free_port
from judges.processes import ProcessHost
from judges.programs import KINDS, Kind, needs, tiny_judge

MEMORY_SLACK_GIB = 0.25
"""So much more GPU memory may be in use after a judge than before it: others have contexts that grow."""
MEMORY_SECONDS = 60.0
"""The driver takes a while to give a dead process' memory back."""


@dataclass
class Judge:
    """A judge that is up."""

    kind: Kind
    options: Options
    url: str
    log: Path
    host: Host = field(repr=False)
    memory_before: float = 0.0
    """GiB that were in use on the GPUs before it was started."""
    model_name: str = SERVED_NAME

    @property
    def backend(self) -> str:
        """For GENRM_SERVER_BACKEND."""
        return self.kind.backend

    @property
    def is_tiny(self) -> bool:
        """Whether it knows the toy domain alone (see `tiny`)."""
        return self.kind.trained_here and not self.options.model

    def workers(self) -> list[str]:
        """The servers that hold memory: behind SGLang's router all of its workers, else this one."""
        if self.kind.backend == "vllm":
            return [self.url]
        return [str(worker["url"]) for worker in httpx.get(f"{self.url}/workers", trust_env=False).json()["workers"]]


def gpu_lacks(options: Options) -> str | None:
    """Why there is no GPU for that judge; None where there is, or where it needs none."""
    return needs.gpu(options) if KINDS[options.server].gpu else None


def lacks(options: Options) -> str | None:
    """What this machine lacks for that judge, in one line that says what to do; None if nothing."""
    kind = KINDS[options.server]
    if reason := gpu_lacks(options):
        return reason
    if options.docker:
        if kind.image is None and options.image is None:
            return f"--docker: there is no image of {kind.name} (--image names one)"
        return containers.missing()
    return kind.missing(options)


@contextmanager
def launched(options: Options, console: Console | None = None) -> Iterator[Judge]:
    """A judge that is up within the block and gone after it, with its processes and its GPU memory.

    Args:
        options: which one.
        console: where its log and what happens is shown; None: stderr.

    Raises:
        StartError: it did not come up; with the end of its log.
        LeftBehindError: something of it was left at the end.
    """
    console = console or Console(stderr=True)
    kind = KINDS[options.server]
    before = NvmlProbe().used() if kind.gpu else 0.0
    judge = _start(kind, options, before)
    kept = False
    try:
        _wait_until_ready(judge, console)
        _say(console, f"{kind.name} is up at {judge.url}; its log is {judge.log}")
        yield judge
        kept = options.keep
    finally:
        if kept:
            _say(console, f"{kind.name} goes on at {judge.url}; to end it: {judge.host.how_to_stop}")
        else:
            _say(console, f"{kind.name} {judge.host.stop()}")
    if kind.gpu and not kept:
        _say(console, _memory_is_back(before))


def _start(kind: Kind, options: Options, memory_before: float) -> Judge:
    wanted = replace(options, model=tiny_judge.path(options)) if kind.trained_here else options
    port = free_port()
    options.work.mkdir(parents=True, exist_ok=True)
    log = options.work / f"{kind.name}-{port}.log"
    program = kind.program(wanted, port)
    host: Host = ProcessHost(program, log)
    if options.docker:
        image, tag = kind.image or ("", "latest")
        name = f"{options.image or image}:{options.tag or tag}"
        host = containers.ContainerHost(program, name, log, kind.gpu)
    host.start()
    return Judge(kind, options, f"http://127.0.0.1:{port}", log, host, memory_before)


def _wait_until_ready(judge: Judge, console: Console) -> None:
    options = judge.options
    deadline = time.monotonic() + options.start_timeout
    # No proxy stands between processes of this machine.
    with (
        LogView(judge.log, f"waiting for {judge.kind.name}", console) as view,
        httpx.Client(base_url=judge.url, timeout=10, trust_env=False) as http,
    ):
        while not _is_ready(judge, http):
            view.update()
            how = judge.host.ended()
            if how is None and time.monotonic() > deadline:
                how = f"is not ready after {options.start_timeout:g} s (--start-timeout)"
            if how is not None:
                raise StartError(f"{judge.kind.name} {how}; its log {judge.log} ends with\n{last_lines(judge.log)}")
            time.sleep(0.1)


def _is_ready(judge: Judge, http: httpx.Client) -> bool:
    try:
        return judge.kind.is_ready(http, judge.options)
    except (httpx.HTTPError, ValueError, KeyError):  # not there yet, or not yet itself
        return False


def _memory_is_back(before: float) -> str:
    probe = NvmlProbe()
    deadline = time.monotonic() + MEMORY_SECONDS
    while (after := probe.used()) > before + MEMORY_SLACK_GIB:
        if time.monotonic() > deadline:
            raise LeftBehindError(f"{after:.2f} GiB of GPU memory are in use, and were {before:.2f} before the judge")
        time.sleep(0.5)
    return f"{after:.2f} GiB of GPU memory are in use, as before ({before:.2f})"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
