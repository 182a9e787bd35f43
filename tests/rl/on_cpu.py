"""Lets verl's trainers run without a GPU. Loaded by verl in every process: VERL_USE_EXTERNAL_MODULES=rl.on_cpu.

Nothing in verl is edited. A platform and a rollout are registered where verl lets one; VERL_ENGINE_DEVICE=cuda, verl's
own variable, picks the FSDP engine. One function of verl is replaced: it would name the back end "cpu:gloo,cpu:gloo",
which torch refuses. verl 0.9.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
import verl.utils.distributed
from verl.plugin.platform import PlatformBase, set_platform
from verl.workers.rollout.base import _ROLLOUT_REGISTRY
from verl.workers.rollout.replica import RolloutReplicaRegistry

ROLLOUT = "hf_generate"
_ANSWERS: dict[str, Any] = {
    "is_available": False,
    "device_count": 0,
    "get_device_name": "CPU",
    "mem_get_info": (0, 0),
    **dict.fromkeys(("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"), 0),
}


class _CpuModule(ModuleType):
    """Stands in for torch.cuda: torch.cpu's functions, and for what that lacks ones that do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _ANSWERS:
            return lambda *_args, **_kwargs: _ANSWERS[name]
        return getattr(torch.cpu, name, None) or _nothing


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """What a CPU need not do."""


class CpuPlatform(PlatformBase):  # type: ignore[misc]  # verl is not there to be looked at
    """The CPU as verl's device. Ray is told of one GPU that is none, which verl's workers are placed on."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _CpuModule("cpu_as_cuda")
    set_device = synchronize = set_allocator_settings = empty_cache = profiler_start = profiler_stop = cudart = _nothing

    def is_available(self) -> bool:
        return True

    def is_ipc_supported(self) -> bool:
        return False

    def current_device(self) -> torch.device:
        return torch.device("cpu")

    def device_count(self) -> int:
        return 0

    def get_device_capability(self, _index: int = 0) -> tuple[None, None]:
        return None, None

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    @contextmanager
    def nvtx_range(self, _message: str) -> Iterator[None]:
        yield


def _replica() -> type:
    from rl.rollout import Replica

    return Replica


def _with_gloo_alone(initialise: Callable[..., Any], timeout_second: Any = None, backend: Any = None) -> Any:
    return initialise(timeout_second, backend or "cpu:gloo")


set_platform(CpuPlatform())
verl.utils.distributed.initialize_global_process_group_ray = partial(
    _with_gloo_alone, verl.utils.distributed.initialize_global_process_group_ray
)
_ROLLOUT_REGISTRY[ROLLOUT, "async"] = "rl.rollout.WeightSender"
RolloutReplicaRegistry.register(ROLLOUT, _replica)
