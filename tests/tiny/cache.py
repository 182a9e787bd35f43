"""Where trained models are kept: made once, and made again when the code that makes them, or torch, is another.

A model is written to a folder beside its place and then renamed, so a training that is interrupted leaves nothing that
could be taken for a model. Of two processes that want the same one, one trains and the other waits.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from tiny import domain
from tiny.tokens import judge_messages

_DECIDE = ("domain.py", "tokens.py", "models.py", "judge.py", "policy.py")
CACHE = Path(__file__).parents[2] / ".cache" / "tiny"


def recipe() -> str:
    """A short name for all that decides what a training gives: this package's code, genrm's prompts, torch."""
    texts = [Path(__file__).with_name(name).read_bytes() for name in _DECIDE]
    problem = domain.problems()[0]
    texts += [judge_messages(problem.text, problem.solution(0, form))[0]["content"].encode() for form in domain.FORMS]
    texts += [f"{name} {metadata.version(name)}".encode() for name in ("torch", "transformers", "tokenizers")]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]


def kept(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` unless it is there. What `make` raises leaves no folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            begun = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
            try:
                make(begun)
                begun.rename(folder)
            finally:
                shutil.rmtree(begun, ignore_errors=True)
    return folder
