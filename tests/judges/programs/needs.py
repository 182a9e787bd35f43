"""What a machine may lack: a GPU, an engine, a model. Each in one line that says what to do, or None."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from genrm.offload.memory import NvmlProbe
from judges.options import Options

WITHOUT_GPU = "--server vllm-cpu, hf, mock and mock-sglang need none"
_PATIENCE = 300.0


def gpu(options: Options) -> str | None:
    """An NVIDIA GPU that can be seen."""
    try:
        NvmlProbe().used()
    except ImportError:
        return f"{options.server} needs a GPU, which is looked for by NVML: pip install nvidia-ml-py"
    except Exception as error:  # NVML's own, of many kinds
        return f"{options.server} needs an NVIDIA GPU, and none is seen here (NVML: {error}); {WITHOUT_GPU}"
    return None


def engine(module: str, install: str) -> Callable[[Options], str | None]:
    """A module that `options.python` can find; `install` says how to get it."""

    def missing(options: Options) -> str | None:
        # Looked for, not imported: that takes a minute, and the server's log says better what is wrong then.
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        try:
            found = subprocess.run([options.python, "-c", code], timeout=_PATIENCE).returncode == 0
        except OSError as error:
            return f"{options.python} cannot be run ({error.strerror}): --python or JUDGE_PYTHON names one"
        return None if found else f"{options.python} has no {module}: {install}, or name another one by JUDGE_PYTHON"

    return missing


def model(name: str, python: str) -> str | None:
    """A model that can be loaded: a folder, or in the cache of the Hugging Face Hub, or to be had from the Hub."""
    if Path(name).is_dir():
        return None if (Path(name) / "config.json").exists() else f"the folder {name} holds no model (config.json)"
    code = "import sys; from huggingface_hub import hf_hub_download; hf_hub_download(sys.argv[1], 'config.json')"
    asked = subprocess.run([python, "-c", code, name], capture_output=True, text=True, timeout=_PATIENCE)
    if asked.returncode == 0:
        return None
    why = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"the model {name} cannot be had ({why}): --model or GENRM_MODEL names a folder or another one"


def first(*needs: Callable[[Options], str | None]) -> Callable[[Options], str | None]:
    """The first of them that is missing."""

    def missing(options: Options) -> str | None:
        return next(filter(None, (need(options) for need in needs)), None)

    return missing
