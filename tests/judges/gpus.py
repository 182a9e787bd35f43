"""The GPUs of this machine that a judge is on: the first of those that CUDA_VISIBLE_DEVICES leaves.

Only they are looked at (by NVML), and only they are given to what is started: others' are nobody's business here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_VARIABLE = "CUDA_VISIBLE_DEVICES"


class Gpus:
    """Some GPUs.

    Args:
        count: how many; there may be fewer.

    Raises:
        ImportError: nvidia-ml-py is not installed.
        Exception: NVML's own, where there is no driver.
    """

    def __init__(self, count: int) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        self.names = left_by(os.environ.get(_VARIABLE), uuids)[:count]
        """As CUDA_VISIBLE_DEVICES names them."""
        self.uuids = [_uuid(name, uuids) for name in self.names]
        self._handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in self.uuids]

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to be on them alone."""
        # CUDA counts from the fastest one on, NVML along the bus.
        return {_VARIABLE: ",".join(self.names), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def used(self) -> float:
        """GiB in use by anybody."""
        return sum(float(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in self._handles) / 2**30

    def smallest(self) -> float:
        """GiB of the one that has the least. Raises ValueError where there is none."""
        return min(float(self._nvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in self._handles) / 2**30


def left_by(variable: str | None, uuids: Sequence[str]) -> list[str]:
    """The names of the GPUs that CUDA sees: indexes, or UUIDs whose ends may be missing. It stops at what names none.

    Args:
        variable: CUDA_VISIBLE_DEVICES; None where it is not set.
        uuids: of all GPUs.
    """
    if variable is None:
        return [str(index) for index in range(len(uuids))]
    names: list[str] = []
    for name in map(str.strip, variable.split(",")):
        if not _uuid(name, uuids):
            break
        names.append(name)
    return names


def _uuid(name: str, uuids: Sequence[str]) -> str:
    """Nothing where it names none."""
    if name.isdigit():
        return uuids[int(name)] if int(name) < len(uuids) else ""
    if name.startswith("MIG-"):  # a part of a GPU, which only NVML knows
        return name
    return next((uuid for uuid in uuids if name.startswith("GPU-") and uuid.startswith(name)), "")
