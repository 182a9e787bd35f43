"""The append-only file of what was judged: one JSON line a sample, each sample once, whatever kills the run.

A line is written in one call when its sample is done. A run that was killed leaves at most one half line at the end,
which the next run takes away; what has a whole line is not judged again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypedDict

from filelock import FileLock, Timeout

from genrm.errors import GenRMError
from genrm.judge import Judgement
from genrm.rewards import Record
from genrm.workbench.inputs import Row


class Line(TypedDict):
    """One judged sample, as it is written."""

    id: str
    digest: str
    label: bool | None
    verdict: bool | float | None
    reason: str
    score: float | None
    fallback: bool
    attempts: int
    latency: float
    tokens: int
    failure: str | None
    reply: str


class OutputError(GenRMError):
    """The output file cannot be used as it is. Nothing in it was changed."""


class Output:
    """An output file, held by one process at a time.

    Attributes:
        lines: the whole lines found in it when it was opened.

    Raises:
        OutputError: another process holds it, or it is not an output of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._digests: dict[str, str] = {}
        self._lock = FileLock(f"{path}.lock", timeout=0)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Output:
        try:
            self._lock.acquire()
        except Timeout:
            raise OutputError(f"{self.path} is being written by another process") from None
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            self._load()
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            self._lock.release()
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None
        except OutputError:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._file is not None
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
            self._lock.release()

    def has(self, row: Row) -> bool:
        """Whether the row is done.

        Raises:
            OutputError: the file holds another sample under this row's id.
        """
        digest = self._digests.get(row.id)
        if digest is not None and digest != _digest(row):
            raise OutputError(
                f"{self.path} holds another sample under the id {row.id!r}: it belongs to another input file, "
                "or that file was changed; give a new --out"
            )
        return digest is not None

    def append(self, row: Row, judgement: Judgement, record: Record) -> Line:
        """Write the line of a row that is done, and return it."""
        assert self._file is not None
        line: Line = {
            "id": row.id,
            "digest": _digest(row),
            "label": row.label,
            "verdict": judgement.verdict.value,
            "reason": str(judgement.verdict.reason),
            # JSON knows no NaN.
            "score": None if math.isnan(record["score"]) else record["score"],
            "fallback": bool(record["genrm_fallback"]),
            "attempts": judgement.attempts,
            "latency": round(judgement.latency, 4),
            "tokens": judgement.tokens,
            "failure": None if judgement.failure is None else str(judgement.failure),
            "reply": judgement.reply,
        }
        # ASCII, so that a lone surrogate in a reply can be written.
        self._write(json.dumps(line).encode("ascii") + b"\n")
        self._digests[row.id] = line["digest"]
        return line

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        start = self._file.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            # Else the next line would be joined to half of this one.
            self._file.truncate(start)
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None

    def _load(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        for number, raw in enumerate(data[:whole].splitlines(), 1):
            line = _line(raw)
            if line is None:
                raise self._foreign(number)
            self._digests[line["id"]] = line["digest"]
            self.lines.append(line)
        if not _begins_ours(data):
            raise self._foreign(1)
        if whole < len(data):
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def _foreign(self, number: int) -> OutputError:
        return OutputError(f"{self.path}, line {number}, was not written by genrm score; give a new --out")


def _line(raw: bytes) -> Line | None:
    """The line that was written so; None where it is none of ours."""
    try:
        line: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    ours = isinstance(line, dict) and line.keys() >= Line.__required_keys__ and isinstance(line["id"], str)
    return line if ours else None


_ID = re.compile(rb'\{"id": "(?:[^"\\]|\\.)*')


def _begins_ours(half: bytes) -> bool:
    """Whether half a line can be the beginning of one of ours: what is not must not be cut off a foreign file."""
    identity = _ID.match(half)
    if identity is None:
        return b'{"id": "'.startswith(half)
    rest, follows = half[identity.end() :], b'", "digest": "'
    # A lone backslash: cut within an escape.
    return rest == b"\\" or rest.startswith(follows) or follows.startswith(rest)


def _digest(row: Row) -> str:
    text = json.dumps([row.sample.problem, row.sample.solution])
    return hashlib.blake2b(text.encode("ascii"), digest_size=8).hexdigest()
