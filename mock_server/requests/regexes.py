"""A short text that a regular expression matches from end to end, made by reading the expression as Python does.

Lookarounds and back references are refused, as by the real server, whose grammars know neither.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from typing import Any

MOST_REPEATS = 64
"""Of a repetition that demands more, only so many are made, and the text then does not match."""

# The parser behind `re`. Up to Python 3.10 it was a module of its own.
_parser: Any = getattr(re, "_parser", None) or importlib.import_module("sre_parse")
_CLASSES: dict[str, str] = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}
_TESTS: dict[str, Callable[[str], bool]] = {
    "DIGIT": str.isdigit,
    "SPACE": str.isspace,
    "WORD": lambda char: char.isalnum() or char == "_",
}
_FAVOURITES = "a0 _-.:!A9\n"

Pick = Callable[[list[str]], str]
"""Chooses one of several texts that would all do."""


class UnsupportedPattern(ValueError):
    """The expression is wrong, or beyond what a grammar can say."""


def first(options: list[str]) -> str:
    """The pick of who has no preference."""
    return options[0]


def matching(pattern: str, pick: Pick = first) -> str:
    """A text that `pattern` matches completely; where it offers alternatives, `pick` chooses.

    Raises UnsupportedPattern.
    """
    try:
        tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UnsupportedPattern(str(error)) from None
    return _Builder(pick).sequence(tree)


class _Builder:
    def __init__(self, pick: Pick) -> None:
        self.pick = pick

    def sequence(self, items: Iterable[tuple[Any, Any]]) -> str:
        return "".join(self.item(str(kind), value) for kind, value in items)

    def item(self, kind: str, value: Any) -> str:
        if kind == "AT":  # anchors, which a full match does not need
            return ""
        if kind == "LITERAL":
            return chr(value)
        if kind == "SUBPATTERN":
            return self.sequence(value[-1])
        if kind == "BRANCH":
            return self.pick([self.sequence(branch) for branch in value[1]])
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, _most, repeated = value
            return self.sequence(repeated) * int(min(least, MOST_REPEATS))
        if kind == "ATOMIC_GROUP":
            return self.sequence(value)
        if kind in ("IN", "ANY", "NOT_LITERAL"):
            return self._character(kind, value)
        raise UnsupportedPattern(f"{kind.lower()} is not supported in a grammar")

    def _character(self, kind: str, value: Any) -> str:
        if kind == "ANY":
            return _FAVOURITES[0]
        if kind == "NOT_LITERAL":
            return next(char for char in _FAVOURITES if ord(char) != value)
        members = [(str(part), argument) for part, argument in value]
        if members[0][0] == "NEGATE":
            return _outside(members[1:])
        return self.pick([_member(part, argument) for part, argument in members])


def _member(kind: str, value: Any) -> str:
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        return chr(value[0])
    name = str(value)
    return _CLASSES.get(name) or _outside([("CATEGORY", name.replace("NOT_", ""))])


def _outside(members: list[tuple[str, Any]]) -> str:
    """A character that none of `members` takes."""
    candidates = _FAVOURITES + "".join(map(chr, range(33, 0x250)))
    for char in candidates:
        if not any(_takes(kind, value, char) for kind, value in members):
            return char
    raise UnsupportedPattern("a character class that holds nothing")


def _takes(kind: str, value: Any, char: str) -> bool:
    if kind == "LITERAL":
        return bool(ord(char) == value)
    if kind == "RANGE":
        return bool(value[0] <= ord(char) <= value[1])
    name = str(value)
    taken = bool(_TESTS[name.rpartition("_")[2]](char))
    return not taken if "NOT" in name else taken
