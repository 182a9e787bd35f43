"""A worker of the drill: scores the samples that come on its stdin, a JSON line each, all at once, as verl's do."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

import anyio

from genrm.reward_function import compute_score


async def score(sample: dict[str, Any]) -> None:
    """Score one sample; its line on stdout is the reward that training gets."""
    outcome: dict[str, Any] = {"id": sample["id"]}
    try:
        info = {"question": sample["problem"], "split": "train"}
        outcome["record"] = await compute_score("drill", sample["solution"], sample["answer"], info)
    except Exception as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
    # One write, so that a killed worker has told of a sample or has not.
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Until stdin ends."""
    # What the first request imports takes a while on a loaded machine, in which the others' batch would seem over.
    for module in ("genrm.client", "genrm.offload.gateway"):
        importlib.import_module(module)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with anyio.create_task_group() as tasks:
        while line := await reader.readline():
            tasks.start_soon(score, json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
