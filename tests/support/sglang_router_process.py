"""The real SGLang router, as a process of its own in front of some workers. Nothing of it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import httpx

from judges.ports import free_ports

MISSING = "the router is not installed (pip install sglang-router==0.3.2, for Linux, macOS and Windows)"
INSTALLED = find_spec("sglang_router") is not None
# For a machine that has come to a halt; no test waits that long on one that has not.
PATIENCE = 120.0
_TRIES = 3


@contextmanager
def running(workers: Sequence[str], *flags: str) -> Iterator[str]:
    """Start the router and wait until it knows all workers; the value is its URL. Killed at the end."""
    for last in (*[False] * (_TRIES - 1), True):
        with tempfile.TemporaryFile() as log:
            process, url = _start(workers, flags, log.fileno())
            try:
                if _is_ready(process, url, len(workers)):
                    yield url
                    return
                # It ended: another process may have been faster to take a port that was free.
                log.seek(0)
                assert not last, f"the router ended with {process.returncode}: {log.read()[-4000:]!r}"
            finally:
                process.kill()
                process.wait()


def _start(workers: Sequence[str], flags: Sequence[str], log: int) -> tuple[subprocess.Popen[bytes], str]:
    port, metrics = free_ports(2)
    command = [sys.executable, "-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics), "--worker-urls", *workers]
    # A proxy of the caller's has no business between processes of this machine.
    env = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    process = subprocess.Popen([*command, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    return process, f"http://127.0.0.1:{port}"


def _is_ready(process: subprocess.Popen[bytes], url: str, workers: int) -> bool:
    """Wait for it; False if it ends instead. It answers, and is ready, before it knows all of its workers."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        try:
            answer = httpx.get(f"{url}/readiness", timeout=PATIENCE)
            if answer.status_code == 200 and answer.json()["total_workers"] == workers:
                return True
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"the router was not ready within {PATIENCE} s"
        time.sleep(0.05)
    return False
