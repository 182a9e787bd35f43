"""What a machine may lack: a GPU, an engine, a model. Each in one line that says what to do, or None."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from judges.gpus import Gpus
from judges.options import REAL_MODEL, Options

WITHOUT_GPU = "--server vllm-cpu, hf, mock and mock-sglang need none"
SMALLEST_GIB = 22.0
"""A card of 24 GB, which may keep a part for itself: it takes the judge and, beside it, a trainer's rollouts."""
PATIENCE = 300.0
"""Seconds that a Python may take to answer."""


def gpu(options: Options, count: int) -> str | None:
    """So many NVIDIA GPUs that can be seen, and are large enough."""
    try:
        gpus = Gpus(count)
    except ImportError:
        return f"{options.server} needs a GPU, which is looked for by NVML: pip install nvidia-ml-py"
    except Exception as error:  # NVML's own, of many kinds
        return f"{options.server} needs an NVIDIA GPU, and none is seen here (NVML: {error}); {WITHOUT_GPU}"
    if not gpus.names:
        return f"{options.server} needs an NVIDIA GPU, and CUDA_VISIBLE_DEVICES or the driver shows none; {WITHOUT_GPU}"
    if len(gpus.names) < count:
        return f"--dp-size {count} needs as many GPUs; those that are seen here: {', '.join(gpus.names)}"
    if options.model is None and gpus.smallest() < SMALLEST_GIB:
        has = f"a GPU here has {gpus.smallest():.1f} GiB"
        return f"{REAL_MODEL} needs {SMALLEST_GIB:.0f} GiB, and {has}: --model names a smaller one"
    return None


def engine(module: str, install: str) -> Callable[[Options], str | None]:
    """A module that `options.python` can find; `install` says how to get it."""

    def missing(options: Options) -> str | None:
        # Looked for, not imported: that takes a minute, and the server's log says better what is wrong then.
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        asked = _ask(options.python, code)
        if isinstance(asked, str):
            return asked
        if asked.returncode == 0:
            return None
        return f"{options.python} has no {module}: {install}, or name another one by JUDGE_PYTHON"

    return missing


def torch_for_gpu(options: Options) -> str | None:
    """A torch that is not the one for CPU, which pip prefers where it sees both."""
    asked = _ask(options.python, "import importlib.metadata as m; print('torch', m.version('torch'))")
    if isinstance(asked, str) or "+cpu" not in asked.stdout:
        return None  # the engine says better what is wrong then
    return f"{options.python} has {asked.stdout.strip()}: install it where pip sees no torch for CPU (pip config list)"


def model(name: str, python: str) -> str | None:
    """A model that can be loaded: a folder, or in the cache of the Hugging Face Hub, or to be had from the Hub."""
    if Path(name).is_dir():
        return None if (Path(name) / "config.json").exists() else f"the folder {name} holds no model (config.json)"
    code = "import sys; from huggingface_hub import hf_hub_download; hf_hub_download(sys.argv[1], 'config.json')"
    asked = _ask(python, code, name)
    if isinstance(asked, str):
        return asked
    if asked.returncode == 0:
        return None
    why = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"the model {name} cannot be had ({why}): --model or GENRM_MODEL names a folder or another one"


def _ask(python: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str] | str:
    """What becomes of the code in that Python, whatever else it writes; or why it cannot be asked."""
    try:
        command = [python, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except OSError as error:
        return f"{python} cannot be run ({error.strerror}): --python or JUDGE_PYTHON names one"
    except subprocess.TimeoutExpired:
        return f"{python} does not answer within {PATIENCE:g} s: --python or JUDGE_PYTHON names another one"


def first(*needs: Callable[[Options], str | None]) -> Callable[[Options], str | None]:
    """The first of them that is missing."""

    def missing(options: Options) -> str | None:
        return next(filter(None, (need(options) for need in needs)), None)

    return missing
