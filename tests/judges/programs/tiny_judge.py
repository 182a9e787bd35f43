"""The model of servers on CPU: the one that was asked for, else a tiny judge (see `tiny`), trained if need be."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from judges.host import StartError
from judges.options import Options

_TESTS = Path(__file__).parents[2]
# In a process of its own: whoever launches a judge need not load torch.
_CODE = "from rich.console import Console; from tiny.shelf import get_judge; print(get_judge(0, Console(stderr=True)))"


def path(options: Options) -> str:
    """A folder with the model, or its name. Training the tiny one takes some minutes, once.

    Raises:
        StartError: it cannot be trained.
    """
    if options.model:
        return options.model
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])}
    made = subprocess.run([sys.executable, "-c", _CODE], env=environment, stdout=subprocess.PIPE, text=True)
    if made.returncode:
        raise StartError(f"the tiny judge cannot be trained (exit code {made.returncode}); why is said above")
    return made.stdout.splitlines()[-1]


def missing(options: Options) -> str | None:
    """What training it would need, in one line."""
    lacking = [module for module in ("torch", "transformers") if find_spec(module) is None]
    if options.model or not lacking:
        return None
    return f"{sys.executable} has no {' and no '.join(lacking)} to train a tiny judge: --model names one that is there"
