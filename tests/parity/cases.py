"""Read the case files: what is asked of a server, as data. docs/parity.md describes the language."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MODEL = "genrm-demo"
CONTEXT = 2048
"""Tokens of prompt and answer together."""
API_KEY = "secret"
ADMIN_KEY = "hidden"

_DEFAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Seven times six is 42. Right?"}],
            "max_tokens": 8,
            "temperature": 0,
            "ignore_eos": True,
        },
    ),
    "completion": (
        "/v1/completions",
        {"model": MODEL, "prompt": "Seven times six", "max_tokens": 8, "temperature": 0, "ignore_eos": True},
    ),
    "generate": (
        "/generate",
        {"text": "Seven times six", "sampling_params": {"max_new_tokens": 8, "temperature": 0, "ignore_eos": True}},
    ),
}
_REQUEST_KEYS = {"json", "raw", "base64", "headers", "without", "as", "background", "hang_up_after", "give_up_after"}
_VIEW_KEYS = {"keep", "only", "shape", "families"}
_STEPS: dict[str, set[str]] = {
    "send": _REQUEST_KEYS | _VIEW_KEYS,
    "chat": _REQUEST_KEYS | _VIEW_KEYS,
    "completion": _REQUEST_KEYS | _VIEW_KEYS,
    "generate": _REQUEST_KEYS | _VIEW_KEYS,
    "events": {"at_least"},
    "answered": set(),
    "scheduled": set(),
    "running": set(),
    "until": {"has"},
    "silent": {"seconds"},
    "join": set(),
    "same_text": set(),
    "before": set(),
    "count": set(),
    "moved": {"since", "signs"},
    "gauges": set(),
    "state": set(),
    "gone": set(),
}
"""Each kind of step, and the keys that may stand beside it."""


class _Loader(yaml.SafeLoader):
    """YAML, and `!repeat [3, ab]` for ababab: long texts are not written out."""

    def repeat(self, node: yaml.Node) -> str:
        """The value of a !repeat."""
        assert isinstance(node, yaml.SequenceNode)
        times, text = self.construct_sequence(node)
        return str(text) * int(times)


_Loader.add_constructor("!repeat", _Loader.repeat)


class CaseError(ValueError):
    """A case file says something that the language does not know."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, and what of its answer is looked at."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    background: bool = False
    """Goes on while the steps after it are done."""
    hang_up_after: int | None = None
    """The client closes the connection after so many events of the stream."""
    give_up_after: float | None = None
    """The client closes the connection after so many seconds without an answer."""
    keep: frozenset[str] = frozenset()
    """What is usually hidden and is compared here: "text", "usage"."""
    only: frozenset[str] = frozenset()
    """Of a JSON object, the keys that are compared; all if empty."""
    shape: int | None = None
    """Only the keys of the answer are compared, down to this depth."""
    families: str | None = None
    """Of /metrics, the names that are compared (a regular expression)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `request` for those that send one, `arguments` for the others."""

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case: a name, why it exists, and its steps."""

    name: str
    about: str
    file: str
    flavour: str
    """How the server was started."""
    must: bool
    steps: tuple[Step, ...]


def probe() -> Request:
    """A request that is soon answered."""
    return _request("chat", {"chat": {"max_tokens": 1}, "as": "probe"}, 0)


def load(folder: Path, flavours: Collection[str]) -> list[Case]:
    """All cases in the order of the files. Raises CaseError, naming file and case."""
    cases = [case for path in sorted(folder.glob("*.yaml")) for case in _read(path, flavours)]
    twice = [name for name, number in Counter(case.name for case in cases).items() if number > 1]
    if twice:
        raise CaseError(f"these names are used twice: {', '.join(twice)}")
    return cases


def _read(path: Path, flavours: Collection[str]) -> Iterator[Case]:
    data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    if data["flavour"] not in flavours:
        raise CaseError(f"{path.name}: flavour must be one of {', '.join(flavours)}")
    for entry in data["cases"]:
        name = entry["name"]
        # A case of one step may be written without the list.
        lone = {key: value for key, value in entry.items() if key not in {"name", "about", "must", "steps"}}
        steps = entry.get("steps", [lone])
        try:
            yield Case(
                name=name,
                about=entry.get("about", ""),
                file=path.stem,
                flavour=data["flavour"],
                must=entry.get("must", False),
                steps=tuple(_step(step, number) for number, step in enumerate(steps, 1)),
            )
        except (CaseError, TypeError) as error:
            raise CaseError(f"{path.name}: {name}: {error}") from None


def _step(data: str | dict[str, Any], number: int) -> Step:
    if isinstance(data, str):
        data = {"send": data} if " /" in data else {data: None}
    kinds = data.keys() & _STEPS.keys()
    if len(kinds) != 1:
        raise CaseError(f"step {number} must have exactly one of {', '.join(_STEPS)}")
    kind = kinds.pop()
    unknown = data.keys() - _STEPS[kind] - {kind}
    if unknown:
        raise CaseError(f"step {number} ({kind}) does not know {', '.join(sorted(unknown))}")
    if kind in _DEFAULTS or kind == "send":
        return Step(kind, request=_request(kind, data, number))
    return Step(kind, data)


def _request(kind: str, data: dict[str, Any], number: int) -> Request:
    if kind == "send":
        method, _, path = data["send"].partition(" ")
    else:
        method, path = "POST", _DEFAULTS[kind][0]
    headers = {str(name): str(value) for name, value in data.get("headers", {}).items()}
    body = _body(kind, data)
    if body is not None and "raw" not in data and "base64" not in data:
        headers = {"Content-Type": "application/json", **headers}
    return Request(
        method=method,
        path=path,
        body=body,
        headers=headers,
        name=data.get("as", f"{number} {method} {path}"),
        background=data.get("background", False),
        hang_up_after=data.get("hang_up_after"),
        give_up_after=data.get("give_up_after"),
        keep=frozenset(data.get("keep", ())),
        only=frozenset(data.get("only", ())),
        shape=data.get("shape"),
        families=data.get("families"),
    )


def _body(kind: str, data: dict[str, Any]) -> bytes | None:
    if "raw" in data:
        return str(data["raw"]).encode()
    if "base64" in data:
        return base64.b64decode(data["base64"])
    if kind in _DEFAULTS:
        fields = _changed(_DEFAULTS[kind][1], data[kind] or {})
        return json.dumps({key: value for key, value in fields.items() if key not in data.get("without", ())}).encode()
    return json.dumps(data["json"]).encode() if "json" in data else None


def _changed(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the changes; an object within them is changed, not replaced."""
    both = {key: {**fields[key], **new} for key, new in changes.items() if _are_objects(fields.get(key), new)}
    return {**fields, **changes, **both}


def _are_objects(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)
