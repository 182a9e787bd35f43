"""A plain server around transformers, on CPU (`judges.hf_server`): no engine, no sleep."""

from __future__ import annotations

import os
from pathlib import Path

from judges.options import SERVED_NAME, Options
from judges.programs import needs, tiny_judge
from judges.programs.program import Kind, Program, serves_a_model

_TESTS = Path(__file__).parents[2]


def _program(options: Options, port: int) -> Program:
    command = [options.python, "-m", "judges.hf_server", "--model", tiny_judge.path(options)]
    command += ["--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port)]
    path = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])
    return Program(command, {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"})


HF = Kind(
    name="hf",
    about="transformers on CPU, with a tiny judge",
    backend="vllm",
    program=_program,
    missing=needs.engine("transformers", "pip install torch==2.13.0+cpu transformers"),
    is_ready=serves_a_model,
    sleeps=False,
    trained_here=True,
)
