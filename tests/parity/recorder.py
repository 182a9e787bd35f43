"""Play cases to a server and keep what was seen, one file of JSON for each case file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from parity.cases import Case
from parity.products import Product
from parity.steps import Runner, Seen

_WIDTH = 120


def record(product: Product, base_url: str, case: Case, patience: float = 90.0) -> Seen:
    """What one case sees at a server. Leaves the server awake and idle. Raises Stuck where that cannot be had."""
    runner = Runner(product, base_url, patience)
    try:
        return runner.run(case)
    finally:
        runner.clean_up(product.flavours[case.flavour])


def load(folder: Path) -> dict[str, Seen]:
    """All recordings by the names of their cases."""
    return {
        name: seen
        for path in sorted(folder.glob("*.json"))
        for name, seen in json.loads(path.read_text(encoding="utf-8")).items()
    }


def save(cases: Iterable[Case], seen: Mapping[str, Seen], folder: Path) -> None:
    """Write the recordings of `cases`. Those that were not played this time stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    old = load(folder)
    by_file: dict[str, dict[str, Seen]] = {}
    for case in cases:
        recording = seen.get(case.name, old.get(case.name))
        if recording is not None:
            by_file.setdefault(case.file, {})[case.name] = recording
    for path in folder.glob("*.json"):
        if path.stem not in by_file:
            path.unlink()
    for file, recordings in by_file.items():
        (folder / f"{file}.json").write_text("".join(_pretty(recordings)) + "\n", encoding="utf-8")


def _pretty(value: Any, indent: int = 0) -> Iterator[str]:
    """JSON in which whatever fits on a line is on one line: a third of the lines, and diffs can still be read."""
    flat = json.dumps(value)
    if not isinstance(value, (dict, list)) or not value or (indent and len(flat) + indent + 40 <= _WIDTH):
        yield flat
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    entries = (
        [(f"{json.dumps(key)}: ", entry) for key, entry in value.items()]
        if isinstance(value, dict)
        else [("", entry) for entry in value]
    )
    yield opening
    for number, (label, entry) in enumerate(entries):
        yield ("," if number else "") + "\n" + " " * (indent + 1) + label
        yield from _pretty(entry, indent + 1)
    yield "\n" + " " * indent + closing
