"""The engine's memory as its executor keeps the book of it: which parts sleep (contract section 2, steps 4 and on).

Where a GPU is simulated, the same happens to the card.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mock_server.engine.gpu import OutOfMemory, SimulatedGpu
from mock_server.engine.rules import EngineRules
from mock_server.errors import EngineCallError, WorkerError

MEMORY_TAGS = ("weights", "kv_cache")


class Memory:
    """The parts that may sleep, by a version's rules."""

    def __init__(self, rules: EngineRules, gpu: SimulatedGpu | None = None) -> None:
        self.rules = rules
        self.gpu = gpu
        self.asleep: set[str] = set()

    @property
    def unmapped(self) -> Collection[str]:
        """The parts that nothing can be computed on."""
        return self.asleep

    @property
    def weights_lost(self) -> bool:
        """Whether whoever computes now computes with garbage."""
        return self.gpu is not None and self.gpu.weights_lost

    def sleep(self, level: int) -> None:
        """Give all of it back, unless the rules say that it sleeps already. Only level 1 keeps the weights."""
        held = "weights" in self.asleep if self.rules.sleeps_again else self.asleep
        if not held:
            self._unmap(MEMORY_TAGS, keep_weights=level == 1)

    def release_kv_cache(self) -> None:
        """Give the KV cache alone back. Raises EngineCallError without a GPU; it counts as asleep all the same."""
        self._unmap(("kv_cache",))
        if self.gpu is None:
            raise WorkerError("release_kv_cache_memory", "Selective discard is not supported on CPU.")

    def _unmap(self, tags: Collection[str], keep_weights: bool = True) -> None:
        self.asleep.update(tags)
        if self.gpu:
            self.gpu.unmap(tags, keep_weights)

    def wake(self, tags: Sequence[str] | None) -> None:
        """Take back what is named (None: all). A tag that is not asleep makes the whole call a silent no-op.

        Raises EngineCallError for a tag given twice, which is awake all the same while those after it still sleep, and
        for want of memory on the GPU: then nothing has woken.
        """
        wanted = list(self.asleep) if tags is None else tags
        if not self.asleep.issuperset(wanted):
            return
        # One after the other, up to a tag that is given again.
        again = next((at for at, tag in enumerate(wanted) if tag in wanted[:at]), len(wanted))
        self._map(wanted[:again])
        if again < len(wanted):
            raise EngineCallError("wake_up", repr(wanted[again]))

    def _map(self, tags: Sequence[str]) -> None:
        if self.gpu:
            try:
                self.gpu.map(tags)
            except OutOfMemory:
                reason = "CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:163"
                raise EngineCallError("wake_up", reason) from None
        self.asleep.difference_update(tags)

    def load_weights(self) -> None:
        """Write the model's weights where they are mapped."""
        if self.gpu:
            self.gpu.load_weights()

    def reset(self) -> None:
        """All of it awake and loaded, and nobody else on the GPU."""
        if self.gpu:
            self.gpu.claim({})
            self.gpu.map(self.gpu.parts)
        self.load_weights()
        self.asleep.clear()

    def stop(self) -> None:
        """The engine's process has ended."""
        if self.gpu:
            self.gpu.stop()

    def start(self) -> None:
        """A fresh process: everything is awake. Raises OutOfMemory where the GPU has no room for it."""
        if self.gpu:
            self.gpu.start()
        self.asleep = set()
