"""SGLang's memory: released and resumed by tags, and what the memory saver makes of that on a GPU.

Source: scheduler_components/weight_updater.py and utils/torch_memory_saver_adapter.py of SGLang 0.5.23; csrc/core.cpp
of its torch_memory_saver, which ends the process (`exit(1)`) where it finds a part in another state than expected and
where the card has no room. SGLang's watchdog (utils/watchdog.py) then ends the server.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from mock_server.engine.gpu import OutOfMemory, SimulatedGpu
from mock_server.engine.memory import Memory
from mock_server.engine.rules import EngineRules
from mock_server.errors import SchedulerCrash

WEIGHTS = "weights"
CUDA_GRAPH = "cuda_graph"
TAGS = ("kv_cache", WEIGHTS, CUDA_GRAPH)
RULES = EngineRules(dies_on_unmapped=True)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Which weights are there."""

    model: str | None = None
    """Where they were read from; None: those of the start."""
    version: str = "default"


class SglangMemory(Memory):
    """What has been released, by name; of a simulated GPU only what the memory saver holds is unmapped with it.

    `saver`: whether there is one (--enable-memory-saver); `saves_graphs`: whether it holds the CUDA graphs, too
    (SGLANG_MEMORY_SAVER_CUDA_GRAPH); `backup`: whether it keeps released weights (--enable-weights-cpu-backup).
    """

    def __init__(
        self,
        gpu: SimulatedGpu | None = None,
        *,
        tags: Sequence[str] = TAGS,
        saver: bool = False,
        saves_graphs: bool = False,
        backup: bool = False,
    ) -> None:
        super().__init__(RULES, gpu)
        self.tags = tuple(tags)
        self.saver = saver
        self.saves_graphs = saves_graphs
        self.backup = backup
        self.lost = False
        """Whether the weights were released without a copy: what is resumed then is random."""
        self.loaded = Loaded()

    @property
    def facts(self) -> dict[str, Any]:
        """What there is to say about it."""
        return {
            "memory_saver": self.saver,
            "weights_backup": self.backup,
            "released": sorted(self.asleep),
            "weights_lost": self.lost,
        }

    @property
    def unmapped(self) -> Collection[str]:
        """The parts that nothing can be computed on: none without a GPU, whatever has been released."""
        return self.gpu.parts.keys() - self.gpu.mapped if self.gpu else ()

    def release(self, tags: Collection[str]) -> None:
        """Give parts back; other tags are noted. Raises SchedulerCrash for a part of a GPU that is back already."""
        self.asleep.update(tags)
        if not self.saver:
            return
        if WEIGHTS in tags and not self.backup:
            self.lost = True
        if self.gpu:
            parts = self._held(self.gpu, tags)
            if not self.gpu.mapped.issuperset(parts):
                raise SchedulerCrash("Cannot pause allocation that is not active.")
            self.gpu.unmap(parts, keep_weights=self.backup)

    def reclaim(self, tags: Sequence[str]) -> None:
        """Take parts again. Raises SchedulerCrash for a tag that has not been released, and where there is no room."""
        for tag in tags:
            if tag not in self.asleep:
                raise SchedulerCrash(f"KeyError: {tag!r}")
            self.asleep.remove(tag)
        if self.gpu:
            try:
                self.gpu.map(self._held(self.gpu, tags))
            except OutOfMemory as error:
                raise SchedulerCrash(str(error)) from None

    def _held(self, gpu: SimulatedGpu, tags: Collection[str]) -> set[str]:
        """The parts of a GPU that the memory saver holds."""
        held = gpu.parts.keys() & set(tags) if self.saver else set()
        return held if self.saves_graphs else held - {CUDA_GRAPH}

    def load_weights(self) -> None:
        """Write a model's weights where they are mapped."""
        super().load_weights()
        self.lost = False

    def reset(self) -> None:
        """All of it as at the start, and nobody else on the GPU."""
        super().reset()
        self.loaded = Loaded()

    def start(self) -> None:
        """A fresh process. Raises OutOfMemory where the GPU has no room for it."""
        super().start()
        self.lost = False
        self.loaded = Loaded()
