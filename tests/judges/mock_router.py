"""Mocks as SGLang behind the real router, in one command, as `sglang_router.launch_server` starts the real ones."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from judges.ports import free_ports

_ROUTER = ["--policy", "round_robin", "--disable-health-check", "--log-level", "warn"]
_POLL = 0.05


def main() -> int:
    """Run all of it until one of it ends, or a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m judges.mock_router", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of the router")
    parser.add_argument("--dp-size", type=int, default=1, help="mocks")
    given, flags = parser.parse_known_args()  # the others are genrm-mock's
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ports = free_ports(given.dp_size + 1)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports[1:]:
            running.append(_mock(port, flags))  # noqa: PERF401 - what has been started must be known at once
        urls = [f"http://127.0.0.1:{port}" for port in ports[1:]]
        _wait_for(urls, running)
        running.append(_router(given.port, ports[0], urls))
        while all(process.poll() is None for process in running):
            time.sleep(_POLL)
        return 1
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _mock(port: int, flags: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mock_server", "--port", str(port), "--profile", "sglang-0.5.23"]
    return subprocess.Popen([*command, "--enable-memory-saver", "--enable-weights-cpu-backup", *flags])


def _router(port: int, metrics: int, workers: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics), "--worker-urls", *workers]
    return subprocess.Popen([*command, *_ROUTER])


def _wait_for(urls: Sequence[str], running: Sequence[subprocess.Popen[bytes]]) -> None:
    for url in urls:
        while not _answers(url):
            if any(process.poll() is not None for process in running):
                sys.exit("a mock ended while it started")
            time.sleep(_POLL)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=10, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    sys.exit(main())
