"""The mock, with a simulated GPU: as one vLLM, and as SGLangs behind the real router."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from judges.options import Options
from judges.programs.program import Kind, Program, knows_its_workers, serves_a_model

_TESTS = Path(__file__).parents[2]
_SCENARIO = _TESTS / "judges" / "cases" / "scenario.yaml"
# Slow enough that a request can be caught in the act.
_FLAGS = ["--gpu-semantics", "--scenario", str(_SCENARIO), "--tokens-per-second", "4000"]


def _vllm(options: Options, port: int) -> Program:
    command = [options.python, "-m", "mock_server", "--host", "127.0.0.1", "--port", str(port), *_FLAGS]
    command += ["--gpu-memory-utilization", str(options.memory)]
    return Program(command, {"VLLM_SERVER_DEV_MODE": "1"}, own_variables=("VLLM_",), reads=[_SCENARIO.parent])


def _sglang(options: Options, port: int) -> Program:
    command = [options.python, "-m", "judges.mock_router", "--port", str(port), "--dp-size", str(options.dp_size)]
    command += [*_FLAGS, "--mem-fraction-static", str(options.memory)]
    path = os.pathsep.join([str(_TESTS), str(_TESTS / "support"), os.environ.get("PYTHONPATH", "")])
    return Program(command, {"PYTHONPATH": path}, own_variables=("SGLANG_",))


def _router(_options: Options) -> str | None:
    if find_spec("sglang_router") is None:
        return f"{sys.executable} has no sglang_router: pip install sglang-router==0.3.2 (Linux, macOS, Windows)"
    return None


MOCK = Kind(
    name="mock",
    about="the mock as vLLM, with a simulated GPU",
    backend="vllm",
    program=_vllm,
    missing=lambda _options: None,
    is_ready=serves_a_model,
    image=("genrm-mock", "latest"),  # ci/mock.Dockerfile
)
MOCK_SGLANG = Kind(
    name="mock-sglang",
    about="mocks as SGLang behind the real router, each with a simulated GPU",
    backend="sglang",
    program=_sglang,
    missing=_router,
    is_ready=knows_its_workers,
)
