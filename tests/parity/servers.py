"""The servers that are compared, by flavour: the mock in a thread, the real one in a process of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from judges.host import Host, StartError
from judges.log_view import last_lines
from judges.ports import free_port
from judges.processes import ProcessHost
from judges.programs import Program
from mock_server import MockServer
from parity.cases import CONTEXT, MODEL, Request
from parity.exchange import Exchange
from parity.products import Flavour, Product

MOCK_TOKENS_PER_SECOND = 300.0
"""So that 1500 tokens are caught in the act and 300 soon over."""
START_SECONDS = 900.0


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
    host: Host
    log: Path

    def wait_until_ready(self, say: Callable[[str], None]) -> None:
        """Return when it answers. Raises StartError, with the end of its log, when it does not come up."""
        start = said = time.monotonic()
        while not self._is_healthy():
            now, how = time.monotonic(), self.host.ended()
            if now - start > START_SECONDS:
                how = how or f"is not up after {START_SECONDS:g} s"
            if how:
                raise StartError(f"the real server {how}; its log {self.log} ends with\n{last_lines(self.log)}")
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
    port = free_port()
    program = Program(
        [*product.command(python, model, port), *flavour.arguments],
        {"HF_HUB_OFFLINE": "1", **product.environment, **flavour.environment},
        own_variables=(product.own_variables, "PYTHON"),
    )
    host = ProcessHost(program, log)
    host.start()
    try:
        yield RealServer(f"http://127.0.0.1:{port}", host, log)
    finally:
        host.stop()
