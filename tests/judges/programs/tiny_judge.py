"""The model of servers on CPU: the one that was asked for, else a tiny judge (see `tiny`), trained if need be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from judges.options import Options

_TESTS = Path(__file__).parents[2]


def path(options: Options) -> str:
    """A folder with the model, or its name. Training the tiny one takes minutes, once."""
    if options.model:
        return options.model
    folder = options.work / "tiny-judge"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([options.python, "-m", "tiny", "judge", "--out", str(folder)], check=True, env=environment)
    return str(folder)
