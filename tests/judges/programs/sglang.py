"""SGLang on a GPU: its router's own launcher, with a worker for each part of `--dp-size`."""

from __future__ import annotations

import os
from pathlib import Path

from judges.options import REAL_MODEL, SERVED_NAME, Options
from judges.programs import needs
from judges.programs.program import Kind, Program, knows_its_workers

_TESTS = Path(__file__).parents[2]


def _program(options: Options, port: int) -> Program:
    command = [options.python, "-m", "judges.supervised_sglang", "--model-path", options.model or REAL_MODEL]
    command += ["--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port)]
    # In the model's own type: on most GPUs none of the backends that it chooses from computes in float32.
    command += ["--dp-size", str(options.dp_size), "--mem-fraction-static", str(options.memory)]
    # Without both of them it says that it sleeps, and keeps its memory or loses its weights.
    command += ["--enable-memory-saver", "--enable-weights-cpu-backup"]
    # A worker that sleeps fails the router's checks, and would be left out when it wakes.
    command += ["--router-disable-health-check"]
    path = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])
    reads = [_TESTS, *options.model_folders]
    return Program(command, {"PYTHONPATH": path}, own_variables=("SGLANG_",), reads=reads)


def _model(options: Options) -> str | None:
    return needs.model(options.model or REAL_MODEL, options.python)


SGLANG = Kind(
    name="sglang",
    about="SGLang on GPUs, behind its router",
    backend="sglang",
    program=_program,
    missing=needs.first(
        needs.engine("sglang", "pip install sglang==0.5.23 sglang-router==0.3.2"),
        needs.engine("sglang_router", "pip install sglang-router==0.3.2"),
        needs.torch_for_gpu,
        _model,
    ),
    is_ready=knows_its_workers,
    gpu=True,
    image=("lmsysorg/sglang", "v0.5.23"),
)
