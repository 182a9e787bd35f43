"""SGLang on a GPU: its router's own launcher, with a worker for each part of `--dp-size`."""

from __future__ import annotations

from judges.options import REAL_MODEL, SERVED_NAME, Options
from judges.programs import needs
from judges.programs.program import Kind, Program, knows_its_workers


def _program(options: Options, port: int) -> Program:
    command = [options.python, "-m", "sglang_router.launch_server", "--model-path", options.model or REAL_MODEL]
    command += ["--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dp-size", str(options.dp_size), "--dtype", "float32", "--mem-fraction-static", str(options.memory)]
    # Without both of them it says that it sleeps, and keeps its memory or loses its weights.
    command += ["--enable-memory-saver", "--enable-weights-cpu-backup"]
    # A worker that sleeps fails the router's checks, and would be left out when it wakes.
    return Program([*command, "--router-disable-health-check"], own_variables=("SGLANG_",))


def _model(options: Options) -> str | None:
    return needs.model(options.model or REAL_MODEL, options.python)


SGLANG = Kind(
    name="sglang",
    about="SGLang on GPUs, behind its router",
    backend="sglang",
    program=_program,
    missing=needs.first(
        needs.engine("sglang", "pip install sglang[all] sglang-router"),
        needs.engine("sglang_router", "pip install sglang-router"),
        _model,
    ),
    is_ready=knows_its_workers,
    gpu=True,
    image=("lmsysorg/sglang", "v0.5.23"),
)
