"""Bring a judge up, wait until it is ready with its log shown, and end it with nothing left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from rich.console import Console

from judges import docker_engine, images
from judges.containers import ContainerHost
from judges.gpus import Gpus
from judges.host import Host, LeftBehindError, StartError
from judges.log_view import LogView, last_lines
from judges.options import SERVED_NAME, Options
from judges.ports import free_port
from judges.processes import ProcessHost
from judges.programs import KINDS, Kind, Program, needs, tiny_judge

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
    gpus: Gpus | None = None
    """Those that it is on."""
    memory_before: float = 0.0
    """GiB that were in use on them before it was started."""
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
    kind = KINDS[options.server]
    return needs.gpu(options, kind.gpus(options)) if kind.gpu else None


def lacks(options: Options) -> str | None:
    """What this machine lacks for that judge, in one line that says what to do; None if nothing."""
    kind = KINDS[options.server]
    if reason := gpu_lacks(options):
        return reason
    if options.docker:
        if kind.image is None and options.image is None:
            return f"--docker: there is no image of {kind.name} (--image names one)"
        return docker_engine.missing()
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
    judge = _start(kind, options, console)
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
    if judge.gpus and not kept:
        _say(console, _memory_is_back(judge.gpus, judge.memory_before))


def _start(kind: Kind, options: Options, console: Console) -> Judge:
    if options.docker:
        images.have(_image(options), console)
    wanted = replace(options, model=tiny_judge.path(options)) if kind.trained_here else options
    port = free_port()
    options.work.mkdir(parents=True, exist_ok=True)
    log = options.work / f"{kind.name}-{port}.log"
    gpus = Gpus(kind.gpus(options)) if kind.gpu else None
    host = host_of(options, kind.program(wanted, port), log, gpus)
    before = gpus.used() if gpus else 0.0
    host.start()
    return Judge(kind, options, f"http://127.0.0.1:{port}", log, host, gpus, before)


def host_of(options: Options, program: Program, log: Path, gpus: Gpus | None) -> Host:
    """What runs a program for that judge: a process, or a container of its image, on those GPUs alone."""
    if options.docker:
        return ContainerHost(program, _image(options), log, gpus.uuids if gpus else [])
    if gpus:
        program = replace(program, environment={**program.environment, **gpus.environment})
    return ProcessHost(program, log)


def _image(options: Options) -> str:
    image, tag = KINDS[options.server].image or ("", "latest")
    return f"{options.image or image}:{options.tag or tag}"


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


def _memory_is_back(gpus: Gpus, before: float) -> str:
    deadline = time.monotonic() + MEMORY_SECONDS
    while (after := gpus.used()) > before + MEMORY_SLACK_GIB:
        if time.monotonic() > deadline:
            raise LeftBehindError(f"{after:.2f} GiB of GPU memory are in use, and were {before:.2f} before the judge")
        time.sleep(0.5)
    return f"{after:.2f} GiB of GPU memory are in use, as before ({before:.2f})"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
