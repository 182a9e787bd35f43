"""Whether a sleep gave memory back: what NVML says before and after, where it can be asked.

A vLLM without --enable-sleep-mode and an SGLang without --enable-memory-saver say that they sleep, and keep all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

import anyio

logger = logging.getLogger(__name__)

LEAST_GIB = 0.5
"""A sleep that gives less back than this gave nothing back: no judge's weights and cache are that small on a GPU."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})


class MemoryProbe(Protocol):
    """Says how much GPU memory is in use."""

    def used(self) -> float:
        """GiB in use by anybody, on all GPUs of this host. May block for some milliseconds."""


class NvmlProbe:
    """Asks NVIDIA's driver about all GPUs, whatever CUDA_VISIBLE_DEVICES says: that is about this process, which may be
    on others than the judge or, as Ray's workers that compute nothing, on none.

    Raises:
        ImportError: nvidia-ml-py is not installed (the extra `gpu`).
        LookupError: there is no GPU.
        Exception: NVML's own, where there is no driver.
    """

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._devices = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        if not self._devices:
            raise LookupError("NVIDIA's driver is here, and shows no GPU")

    def used(self) -> float:
        """As `MemoryProbe.used`."""
        return float(sum(self._nvml.nvmlDeviceGetMemoryInfo(device).used for device in self._devices)) / 2**30


def open_probe(urls: Sequence[str]) -> MemoryProbe | None:
    """A probe for judges at these URLs; None where their GPUs cannot be seen from here."""
    if not all(urlsplit(url).hostname in _LOCAL for url in urls):
        return None
    try:
        return NvmlProbe()
    except Exception as error:  # NVML's errors are of many kinds, and none of them matters for scoring
        logger.debug("GPU memory cannot be seen: %s", error)
        return None


class MemoryWatch:
    """Compares the memory in use before and after a sleep.

    Args:
        probe: None where it cannot be seen; then nothing is said.
    """

    def __init__(self, probe: MemoryProbe | None) -> None:
        self._probe = probe

    async def used(self) -> float | None:
        """GiB in use; None where it cannot be seen."""
        if self._probe is None:
            return None
        try:
            return await anyio.to_thread.run_sync(self._probe.used)
        except Exception as error:  # as in `open_probe`
            logger.debug("GPU memory cannot be seen: %s", error)
            return None

    async def compare(self, before: float | None) -> float | None:
        """After a sleep: logs how much came back, loudly where that is nothing. Returns it, in GiB."""
        after = await self.used()
        if before is None or after is None:
            return None
        freed = before - after
        if freed < LEAST_GIB:
            logger.error(
                "the judge sleeps and gave %.1f GiB back (%.1f GiB are in use): was it started with "
                "--enable-sleep-mode (vLLM) or --enable-memory-saver (SGLang)? Training may lack its memory",
                freed,
                after,
            )
        else:
            logger.info("the judge sleeps; %.1f GiB came back, %.1f GiB are in use", freed, after)
        return freed
