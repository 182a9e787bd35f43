"""A simulated GPU: who holds how much of its memory, and whether its weights are still the model's.

It knows no server: parts have any names (vLLM's `weights` and `kv_cache`, SGLang's `cuda_graph`), and whoever serves
says which of them are mapped. Beside the server stand the claims of other processes, such as a trainer's. All sizes are
in GiB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

RUNTIME_GIB = 1.2
"""What a server never gives back (CUDA context, buffers): 1.19 GiB were seen after a sleep (vLLM issue #28714)."""
CUDA_GRAPH_GIB = 0.5
"""SGLang's CUDA graphs, by its own estimate for a card of 80 GB: 2 MiB for each of 256 requests (memory_hook.py)."""


class OutOfMemory(Exception):
    """Something does not fit on the card. The text is what PyTorch says to a process that this befalls."""

    def __init__(self, wanted: float, total: float, free: float) -> None:
        super().__init__(
            f"CUDA out of memory. Tried to allocate {wanted:.2f} GiB. GPU 0 has a total capacity of {total:.2f} GiB "
            f"of which {free:.2f} GiB is free."
        )


class SimulatedGpu:
    """One card with a server on it, everything mapped and the weights loaded.

    Raises ValueError for parts that do not fit on it.
    """

    def __init__(self, total: float, parts: Mapping[str, float], runtime: float = RUNTIME_GIB) -> None:
        self.total = total
        self.parts = dict(parts)
        """The size of each part that may be unmapped."""
        self.runtime = runtime
        self.mapped: set[str] = set(parts)
        self.claims: dict[str, float] = {}
        self.weights_lost = False
        """Whether the weights are whatever lay in memory: they were unmapped without a copy, and not loaded since."""
        self._serving = True
        if min(self.parts.values()) <= 0 or self.used > total:
            sizes = ", ".join(f"{name} {size:g}" for name, size in self.parts.items())
            raise ValueError(f"a GPU of {total:g} GiB cannot hold these parts (GiB): {sizes}, runtime {runtime:g}")

    @classmethod
    def of_vllm(cls, total: float, utilization: float, weights: float) -> SimulatedGpu:
        """The card under a vLLM that takes the share `utilization` of it: what the weights leave is KV cache."""
        return cls(total, {"weights": weights, "kv_cache": total * utilization - weights - RUNTIME_GIB})

    @classmethod
    def of_sglang(cls, total: float, fraction: float, weights: float) -> SimulatedGpu:
        """The card under an SGLang whose weights and KV cache take the share `fraction` of it (mem-fraction-static)."""
        return cls(total, {"weights": weights, "kv_cache": total * fraction - weights, "cuda_graph": CUDA_GRAPH_GIB})

    # --- the server ---

    @property
    def used(self) -> float:
        """What the server holds."""
        return self.runtime + sum(self.parts[part] for part in self.mapped) if self._serving else 0.0

    @property
    def free(self) -> float:
        """What nobody holds."""
        return self.total - self.used - sum(self.claims.values())

    def unmap(self, parts: Iterable[str], keep_weights: bool = True) -> None:
        """Give parts back. Without `keep_weights` no copy of the weights is left anywhere."""
        gone = self.mapped.intersection(parts)
        self.mapped -= gone
        if "weights" in gone and not keep_weights:
            self.weights_lost = True

    def map(self, parts: Collection[str]) -> None:
        """Take parts back. Raises OutOfMemory if they do not fit together, and takes none then."""
        new = set(parts) - self.mapped
        self._check(sum(self.parts[part] for part in new))
        self.mapped |= new

    def load_weights(self) -> None:
        """Write the model's weights where they are mapped."""
        self.weights_lost = False

    def stop(self) -> None:
        """The server's process has ended: it holds nothing."""
        self._serving = False

    def start(self) -> None:
        """A fresh process loads everything. Raises OutOfMemory beside claims that leave no room for it."""
        self.stop()
        self._check(self.runtime + sum(self.parts.values()))
        self._serving = True
        self.mapped = set(self.parts)
        self.weights_lost = False

    # --- everybody else ---

    def claim(self, claims: Mapping[str, float]) -> None:
        """What other processes hold from now on, by their names. Raises OutOfMemory, and changes nothing then."""
        before = sum(self.claims.values())
        self._check(sum(claims.values()) - before)
        self.claims = {name: size for name, size in claims.items() if size}

    def _check(self, wanted: float) -> None:
        # A byte more or less is rounding: sizes are sums of fractions.
        if wanted > 0 and wanted > self.free + 2**-30:
            raise OutOfMemory(wanted, self.total, max(0.0, self.free))

    def as_json(self) -> dict[str, Any]:
        """All numbers, in GiB, rounded to MiB or so."""
        held = {part: size if self._serving and part in self.mapped else 0.0 for part, size in self.parts.items()}
        rounded = {
            "total": self.total,
            "free": self.free,
            "used": self.used,
            "runtime": self.runtime if self._serving else 0.0,
            **held,
        }
        sizes = {name: round(size, 3) for name, size in rounded.items()}
        return {**sizes, "claims": self.claims, "weights_lost": self.weights_lost}
