"""What the reward function costs, against the least that the same work could cost. Run by `nox -s bench`.

Ratios are what to look at: absolute times are those of the machine, and a busy one doubles them. The mock runs in a
process of its own, so that its work is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from genrm import Judge, Sample, Settings, parse_verdict
from genrm.neutralise import Neutraliser
from genrm.prompts import load_template

SAMPLES = 2000
IN_FLIGHT = 256
AWAKE: dict[str, Any] = {"offload_ledger": "file", "canary": "off", "idle_linger": 60.0, "batch_size": 10**9}
"""Settings with which the judge stays awake while it is measured."""
REPLY = "First I check the sum, which is right. " * 40 + "\n\n**Final verdict:** \\boxed{True}"


def main() -> None:
    table = Table("what", "costs", "against", "ratio")
    imported = seconds_of(python("import genrm.reward_function"))
    bare = seconds_of(python("import pydantic_settings, anyio, tenacity"))
    table.add_row(
        "import genrm.reward_function",
        f"{imported:.3f} s",
        f"its libraries alone, {bare:.3f} s",
        f"{imported / bare:.2f}",
    )
    box = re.compile(r"\\boxed\{(True|False)\}\s*\Z")
    parsed, searched = seconds_of(lambda: parse_verdict(REPLY), 200), seconds_of(lambda: box.search(REPLY), 200)
    table.add_row(
        f"a verdict in {len(REPLY)} characters",
        f"{parsed * 1e6:.0f} us",
        f"one regex, {searched * 1e6:.0f} us",
        f"{parsed / searched:.1f}",
    )
    hostile = seconds_of(lambda: parse_verdict("{" * 10**6))
    table.add_row("no verdict in 1 MB of {", f"{hostile * 1e3:.1f} ms", "", "")
    with mock() as url:
        judged = asyncio.run(cpu_of(judge_with(url)))
        posted = asyncio.run(cpu_of(post_with(url)))
    table.add_row(
        f"a sample, {IN_FLIGHT} in flight",
        f"{judged / SAMPLES * 1e3:.2f} ms of CPU",
        f"aiohttp's POST alone, {posted / SAMPLES * 1e3:.2f} ms",
        f"{judged / posted:.1f}",
    )
    for processes in (1, 8):
        with mock() as url, tempfile.TemporaryDirectory() as folder:
            plain = cost_in(processes, url)
            offloaded = cost_in(processes, url, use_offload=True, offload_dir=folder, **AWAKE)
        table.add_row(
            f"offload, the judge awake, {processes} process{'es' if processes > 1 else ''}",
            f"{(offloaded - plain) * 1e3:.2f} ms of CPU a sample more",
            f"a sample without, {plain * 1e3:.2f} ms",
            f"{offloaded / plain:.1f}",
        )
    Console().print(table)


def cost_in(processes: int, url: str, **settings: Any) -> float:
    """Seconds of CPU a sample, where so many processes score at once."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        spent = pool.map(cost_of, [url] * processes, [settings] * processes)
        return sum(spent) / processes / SAMPLES


def cost_of(url: str, settings: dict[str, Any]) -> float:
    """Seconds of CPU of one process that scores all samples."""
    asyncio.run(cpu_of(judge_with(url, **settings)))  # libraries are imported, and the judge is awake
    return asyncio.run(cpu_of(judge_with(url, **settings)))


def seconds_of(call: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of some calls."""
    fastest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def python(code: str) -> Callable[[], object]:
    """A call that runs code in an interpreter of its own."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


@contextlib.contextmanager
def mock() -> Iterator[str]:
    """A mock server in a process of its own; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mock_server", "--port", str(port)]
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            if process.poll() is not None:
                sys.exit("the mock did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def cpu_of(work: Callable[[], Awaitable[None]]) -> float:
    """Seconds of CPU of this process."""
    start = time.process_time()
    await work()
    return time.process_time() - start


def judge_with(url: str, **settings: Any) -> Callable[[], Awaitable[None]]:
    judge = Judge(Settings.load(base_url=url, max_workers=IN_FLIGHT, **settings))
    info = {"question": "How many?"}

    async def score(number: int) -> None:
        await judge.judge(Sample(f"It is {number}.", extra_info=info))
        await judge.scored()

    async def work() -> None:
        await asyncio.gather(*(score(number) for number in range(SAMPLES)))
        await judge.aclose()

    return work


def post_with(url: str) -> Callable[[], Awaitable[None]]:
    prompt = load_template().messages(Neutraliser(), "How many?", "It is 1.")
    body = json.dumps({"model": "genrm-demo", "temperature": 0, "max_tokens": 2048, "messages": prompt})

    async def work() -> None:
        slots = asyncio.Semaphore(IN_FLIGHT)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def post() -> None:
                headers = {"content-type": "application/json"}
                async with slots, session.post(f"{url}/v1/chat/completions", data=body, headers=headers) as response:
                    await response.json()

            await asyncio.gather(*(post() for _ in range(SAMPLES)))

    return work


if __name__ == "__main__":
    main()
