"""The servers that are compared, by flavour: the mock in a thread, the real one in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mock_server import MockServer
from parity.cases import CONTEXT, MODEL, Request
from parity.exchange import Exchange
from parity.products import Flavour, Product

MOCK_TOKENS_PER_SECOND = 300.0
"""So that 1500 tokens are caught in the act and 300 soon over."""
START_SECONDS = 900.0
STOP_SECONDS = 30.0


class StartError(RuntimeError):
    """The real server did not come up."""


def mock(product: Product, flavour: Flavour) -> MockServer:
    """A mock of that flavour, not yet started. It talks like the real server's random model."""
    return MockServer(
        tokens_per_second=MOCK_TOKENS_PER_SECOND,
        served_model_name=MODEL,
        max_model_len=CONTEXT,
        **product.mock,
        **flavour.mock,
    )


def make_model(product: Product, python: str, folder: Path) -> Path:
    """Make the tiny model with the Python that the server is installed for, unless it is there."""
    maker = Path(__file__).with_name("tiny_model.py")
    # A changed recipe makes another model.
    model = folder / f"model-{maker.stat().st_mtime_ns:x}"
    if not (model / "config.json").exists():
        subprocess.run([python, str(maker), str(model), *product.model], check=True, stderr=subprocess.DEVNULL)
    return model


@dataclass(frozen=True, slots=True)
class RealServer:
    """A real server on CPU that has been started."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self, say: Callable[[str], None]) -> None:
        """Return when it answers. Raises StartError, with the end of its log, when it does not come up."""
        start = said = time.monotonic()
        while not self._is_healthy():
            now = time.monotonic()
            if self.process.poll() is not None or now - start > START_SECONDS:
                ended = "ended" if self.process.poll() is not None else f"is not up after {START_SECONDS:g} s"
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                raise StartError(f"the real server {ended}; its log {self.log} ends with\n{tail}")
            if now - said > 20:
                said = now
                say(f"  waiting for the real server for {now - start:.0f} s")
            time.sleep(0.5)

    def _is_healthy(self) -> bool:
        health = Exchange(self.url, Request("GET", "/health"))
        health.join(5)
        health.close()
        return health.status == 200


@contextmanager
def real(product: Product, flavour: Flavour, python: str, model: Path, log: Path) -> Iterator[RealServer]:
    """Start a real server on CPU, which takes a minute or more; it ends with the block, also at Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*product.command(python, model, port), *flavour.arguments],
            env=_environment(product, flavour),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its workers end with it, and Ctrl-C is ours to handle
        )
    try:
        yield RealServer(f"http://127.0.0.1:{port}", process, log)
    finally:
        _end(process)


def _environment(product: Product, flavour: Flavour) -> dict[str, str]:
    kept_out = (product.own_variables, "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(kept_out)}
    return {**inherited, "HF_HUB_OFFLINE": "1", **product.environment, **flavour.environment}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, politely at first."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    # Also where it ended: a worker may have outlived it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
