"""The example scripts, and what they would tell verl."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("run_*.sh"))
PATIENCE = 120.0
GIVEN = {"MODEL": "policy", "TRAIN": "train.parquet", "VAL": "test.parquet", "DRY_RUN": "1", "PYTHON": sys.executable}
GIVEN |= {"GENRM_API_KEY": "secret", "GENRM_MODEL_NAME": "genrm-demo", "GENRM_BASE_URL": "http://judge:30000"}


def printed(script: str, *words: str, **variables: str) -> str:
    """What a script would run. `words`: more keys; `variables`: besides those in GIVEN."""
    command = ["bash", str(EXAMPLES / script), *words]
    environment = {**os.environ, **GIVEN, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def keys(script: str, *words: str, **variables: str) -> list[str]:
    """The keys that it would give to verl."""
    last = shlex.split(printed(script, *words, **variables).splitlines()[-1])
    return last[last.index("verl.trainer.main_ppo") + 1 :]
