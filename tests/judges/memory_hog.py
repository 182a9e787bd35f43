"""A trainer's memory, without a trainer: takes what is free on every GPU, gives it back, as it is told.

    python -m judges.memory_hog MARGIN PORT

It connects to that port of the loopback and is told a line at a time. `measure` notes what is free, `take` takes that
much of each GPU, less the margin in GiB, `give` gives it back; each is answered with a line, `ok` or `no`. Run by a
Python that has torch.
"""

from __future__ import annotations

import socket
import sys
from typing import Any, TextIO


def main(margin: float, port: int) -> None:
    """Until the connection ends."""
    import torch

    if not torch.cuda.device_count():
        sys.exit(f"torch {torch.__version__} sees no GPU, so that no memory can be taken")
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rw") as lines:
        _obey(torch, int(margin * 2**30), lines)


def _obey(torch: Any, margin: int, lines: TextIO) -> None:
    devices = range(torch.cuda.device_count())
    wanted: list[int] = []
    held: list[Any] = []

    def free() -> list[int]:
        return [int(torch.cuda.mem_get_info(device)[0]) for device in devices]

    def take() -> bool:
        if not any(wanted):
            return False
        try:
            held.extend(torch.empty(wanted[d], dtype=torch.uint8, device=f"cuda:{d}") for d in devices)
        except torch.cuda.OutOfMemoryError:
            held.clear()
            torch.cuda.empty_cache()
            return False
        return True

    free()  # makes a context on each, which takes memory, too
    for line in lines:
        well = True
        held.clear()
        torch.cuda.empty_cache()
        if line.strip() == "measure":
            wanted = [max(0, size - margin) for size in free()]
        elif line.strip() == "take":
            well = take()
        lines.write("ok\n" if well else "no\n")
        lines.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
