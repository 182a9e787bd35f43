"""A cassette: recorded requests with their answers, found again by what was asked, in whatever order it is asked.

Two requests are the same when method, path, query and body are; a JSON body is compared as a value, so white space and
the order of keys do not matter. What is asked several times gets its answers in the order of the recording, and the
last of them from then on. Headers of requests are neither compared nor kept: they hold keys.

The file is JSON, one a test, sorted by request, so that recording again in another order gives the same file.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

FORMAT = 1
# Those that say what the body is, or what a client is to do. Others tell of the server's host, or of the account.
KEPT_HEADERS = ("content-type", "retry-after")


class CassetteError(ValueError):
    """A cassette cannot be read, or is none. The message names the file."""


@dataclass(frozen=True)
class Asked:
    """One request, in the form in which the same requests are equal.

    Attributes:
        method: GET, POST...
        path: without query.
        query: the query's pairs, sorted.
        body: a JSON body as canonical text, another body as it is; "" for none.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def of(cls, method: str, path: str, query: str, body: bytes) -> Asked:
        """The request as it came over the wire."""
        return cls(method, path, tuple(sorted(parse_qsl(query, keep_blank_values=True))), _canonical(body))

    def value(self) -> Any:
        """The body as a JSON value, or as text where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.method} {self.path}{'?' if query else ''}{query}"


@dataclass(frozen=True)
class Answered:
    """One answer: its status, the headers that are kept, and its body in the pieces in which it came.

    Attributes:
        pieces: several for a stream of events, in order; timing is not kept.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: tuple[bytes, ...]


@dataclass
class Cassette:
    """Requests and their answers. `record` adds, `find` answers."""

    answers: dict[Asked, list[Answered]] = field(default_factory=dict)
    _played: Counter[Asked] = field(default_factory=Counter)

    def record(self, asked: Asked, answered: Answered) -> None:
        """Add an answer to a request."""
        self.answers.setdefault(asked, []).append(answered)

    def find(self, asked: Asked) -> Answered | None:
        """The next answer to a request; None if it was never recorded."""
        answers = self.answers.get(asked)
        if answers is None:
            return None
        index = min(self._played[asked], len(answers) - 1)
        self._played[asked] += 1
        return answers[index]

    @classmethod
    def load(cls, path: Path) -> Cassette:
        """Read a cassette.

        Raises:
            CassetteError: the file cannot be read, or is no cassette.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CassetteError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise CassetteError(f"{path} is no JSON: {error}") from None
        if not isinstance(data, dict) or data.get("cassette") != FORMAT:
            raise CassetteError(f"{path} is no cassette of format {FORMAT}")
        try:
            return cls(
                {_asked(entry): [_answered(answer) for answer in entry["answers"]] for entry in data["requests"]}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CassetteError(f"{path} is damaged: {type(error).__name__}: {error}") from None

    def save(self, path: Path) -> None:
        """Write the cassette, in one step: a reader sees the old file or the new one."""
        entries = sorted(self.answers.items(), key=lambda entry: repr(entry[0]))
        data = {"cassette": FORMAT, "requests": [_entry(asked, answers) for asked, answers in entries]}
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(json.dumps(data, indent=1) + "\n", encoding="ascii")
        beside.replace(path)


def _canonical(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), sort_keys=True)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace")


def _entry(asked: Asked, answers: Iterable[Answered]) -> dict[str, Any]:
    value = asked.value()
    return {
        "method": asked.method,
        "path": asked.path,
        "query": [list(pair) for pair in asked.query],
        # A body that is no JSON is kept as text, and is not taken for the JSON string of the same letters.
        **({"text": asked.body} if value == asked.body else {"json": value}),
        "answers": [
            {
                "status": answer.status,
                "headers": [list(header) for header in answer.headers],
                "pieces": [_readable(piece) for piece in answer.pieces],
            }
            for answer in answers
        ],
    }


def _asked(entry: dict[str, Any]) -> Asked:
    query = tuple((str(name), str(value)) for name, value in entry["query"])
    body = str(entry["text"]) if "text" in entry else json.dumps(entry["json"], sort_keys=True)
    return Asked(str(entry["method"]), str(entry["path"]), query, body)


def _answered(answer: dict[str, Any]) -> Answered:
    headers = tuple((str(name), str(value)) for name, value in answer["headers"])
    return Answered(int(answer["status"]), headers, tuple(_raw(piece) for piece in answer["pieces"]))


def _readable(piece: bytes) -> Any:
    """A piece of a body as a person can read it: as text where it is some, else in base64."""
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(piece).decode("ascii")}


def _raw(piece: Any) -> bytes:
    if isinstance(piece, str):
        return piece.encode("utf-8")
    return base64.b64decode(piece["base64"], validate=True)
