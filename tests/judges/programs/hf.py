"""A plain server around transformers, on CPU (`judges.hf_server`): no engine, no sleep."""

from __future__ import annotations

import os
from pathlib import Path

from judges.options import SERVED_NAME, Options
from judges.programs import needs, tiny_judge
from judges.programs.program import Kind, Program, serves_a_model

_TESTS = Path(__file__).parents[2]


def _program(options: Options, port: int) -> Program:
    assert options.model
    command = [options.python, "-m", "judges.hf_server", "--model", options.model]
    command += ["--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port)]
    if options.temperature is not None:
        command += ["--temperature", str(options.temperature)]
    path = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])
    return Program(command, {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"})


HF = Kind(
    name="hf",
    about="transformers on CPU, with a tiny judge",
    backend="vllm",
    program=_program,
    missing=needs.first(needs.engine("transformers", "pip install torch==2.13.0+cpu transformers"), tiny_judge.missing),
    is_ready=serves_a_model,
    sleeps=False,
    trained_here=True,
)
