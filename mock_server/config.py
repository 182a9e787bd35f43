"""How a mock server behaves: what a command's flags and a test's keywords come down to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mock_server.scenario.script import Scenario
from mock_server.versions import DEFAULT_PROFILE


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a mock server behaves. Names follow the flags of vLLM and SGLang; each looks at its own."""

    scenario: Scenario | dict[str, Any] | str | Path | None = None
    """A script, a YAML file, plain data, or None for the bundled script."""
    seed: int = 0
    """Another seed gives other draws, so other errors and other words, for every request."""
    tokens_per_second: float | None = None
    """Speed of each generation; None answers at once."""
    served_model_name: str = "genrm-demo"
    max_model_len: int = 32768
    """Tokens (bytes) of prompt and answer together."""
    api_key: str | None = None
    dev_mode: bool = True
    """What VLLM_SERVER_DEV_MODE=1 does: without it /sleep and its like are 404."""
    request_id_headers: bool = False
    journal_file: str | Path | None = None
    """Where each exchange is appended when it has ended, as a line of JSON."""
    control: bool = True
    """Whether the control API answers under /_mock."""
    profile: str = DEFAULT_PROFILE
    """The server version to be: a name from mock_server/profiles."""
    gpu_semantics: bool = False
    """Behave as with a GPU under it: memory that sleeps cannot be computed on, and a GPU is simulated."""
    gpu_memory: float = 80.0
    """GiB of the simulated GPU."""
    gpu_memory_utilization: float = 0.9
    """The share of it that the server takes; SGLang takes its CUDA graphs and what it never gives back besides."""
    weights_memory: float = 15.0
    """GiB of the weights; what they leave of the server's share is its KV cache."""
    admin_api_key: str | None = None
    """SGLang: the key for what changes the server; then `api_key` does not open that any more."""
    enable_memory_saver: bool = False
    """SGLang: whether releasing memory frees any. Without it the calls change nothing but what may be called next."""
    enable_weights_cpu_backup: bool = False
    """SGLang: whether released weights are kept; otherwise they are random once they are resumed."""
    memory_saver_cuda_graph: bool = False
    """SGLang, what SGLANG_MEMORY_SAVER_CUDA_GRAPH=1 does: releasing `cuda_graph` frees it, too."""
    enable_cache_report: bool = False
    """SGLang: whether usage says how many tokens of a prompt came from the cache."""
    health_seconds: float = 1.0
    """SGLang: the interval in which /health looks for the token it asks for. The real server's cannot be changed."""
