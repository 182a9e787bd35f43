"""Where two recordings differ, in words: `3 POST /sleep -> body -> level: 1 | 2`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_LONGEST = 300


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Each place where `actual` is not `expected`, as `path: expected | actual`."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            place = f"{path} -> {key}" if path else key
            if key not in actual:
                yield f"{place}: {_short(expected[key])} | (missing)"
            elif key not in expected:
                yield f"{place}: (missing) | {_short(actual[key])}"
            else:
                yield from differences(expected[key], actual[key], place)
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{path}: {len(expected)} entries {_short(expected)} | {len(actual)} entries {_short(actual)}"
            return
        for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: {_short(expected)} | {_short(actual)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
