"""A request that was never recorded: which recorded one comes nearest, and in what they differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from mock_server.cassettes.cassette import Asked, Cassette

_LONGEST_BODY = 4_000  # of what is compared; the differences are found in the whole
_LONGEST_VALUE = 80
_MOST_DIFFERENCES = 5


def explain(asked: Asked, cassette: Cassette) -> str:
    """One text for a person: what was asked, what comes nearest, and where they differ."""
    nearest = _nearest(asked, cassette.answers)
    if nearest is None:
        return f"{asked} was never recorded; the cassette is empty"
    differences = list(_differences(asked, nearest))
    listed = "; ".join(differences[:_MOST_DIFFERENCES])
    more = f"; and {len(differences) - _MOST_DIFFERENCES} more" if len(differences) > _MOST_DIFFERENCES else ""
    count = len(cassette.answers)
    return f"{asked} was never recorded; the nearest of {count} is {nearest}, which differs: {listed}{more}"


def _nearest(asked: Asked, recorded: Iterable[Asked]) -> Asked | None:
    def likeness(other: Asked) -> tuple[bool, bool, float]:
        matcher = difflib.SequenceMatcher(None, asked.body[:_LONGEST_BODY], other.body[:_LONGEST_BODY], autojunk=False)
        return asked.path == other.path, asked.method == other.method, matcher.quick_ratio()

    return max(recorded, key=likeness, default=None)


def _differences(asked: Asked, nearest: Asked) -> Iterator[str]:
    if asked.method != nearest.method:
        yield f"method: {nearest.method} was recorded, {asked.method} was asked"
    if asked.path != nearest.path:
        yield f"path: {nearest.path} was recorded, {asked.path} was asked"
    if asked.query != nearest.query:
        yield f"query: {dict(nearest.query)} was recorded, {dict(asked.query)} was asked"
    yield from _value_differences("body", nearest.value(), asked.value())


def _value_differences(place: str, recorded: Any, asked: Any) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in sorted({*recorded, *asked}):
            inner = f"{place}.{key}"
            if key not in asked:
                yield f"{inner}: {_short(recorded[key])} was recorded, nothing was asked"
            elif key not in recorded:
                yield f"{inner}: nothing was recorded, {_short(asked[key])} was asked"
            else:
                yield from _value_differences(inner, recorded[key], asked[key])
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        for index, (one, other) in enumerate(zip(recorded, asked, strict=True)):
            yield from _value_differences(f"{place}[{index}]", one, other)
    elif recorded != asked:
        if isinstance(recorded, str) and isinstance(asked, str):
            yield f"{place}: {_text_difference(recorded, asked)}"
        else:
            yield f"{place}: {_short(recorded)} was recorded, {_short(asked)} was asked"


def _text_difference(recorded: str, asked: str) -> str:
    """Where two texts part, with what stands there."""
    alike = next(
        (index for index, (one, other) in enumerate(zip(recorded, asked, strict=False)) if one != other),
        min(len(recorded), len(asked)),
    )
    start = max(0, alike - 20)
    return f"from character {alike}, {_short(recorded[start:])} was recorded, {_short(asked[start:])} was asked"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
