"""A trainer's memory, without a trainer: takes what is free on every GPU, gives it back, as stdin tells it.

`measure` notes what is free, `take` takes that much of each GPU, less a margin in GiB (the argument), `give` gives it
back; each answers with a line, `ok` or `no`. Run by a Python that has torch.
"""

from __future__ import annotations

import sys
from typing import Any


def main(margin: float) -> None:
    """Until stdin ends."""
    import torch

    devices = range(torch.cuda.device_count())
    wanted: list[int] = []
    held: list[Any] = []

    def free() -> list[int]:
        return [int(torch.cuda.mem_get_info(device)[0]) for device in devices]

    free()  # makes a context on each, which takes memory, too
    print("ok", flush=True)
    for line in sys.stdin:
        answer = "ok"
        held.clear()
        torch.cuda.empty_cache()
        if line.strip() == "measure":
            wanted = [max(0, size - int(margin * 2**30)) for size in free()]
        elif line.strip() == "take":
            try:
                held += [torch.empty(wanted[d], dtype=torch.uint8, device=f"cuda:{d}") for d in devices]
            except torch.cuda.OutOfMemoryError:
                held.clear()
                torch.cuda.empty_cache()
                answer = "no"
        print(answer, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
