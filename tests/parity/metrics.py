"""/metrics in Prometheus' text format: values, and the form of what is exposed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SUFFIX = re.compile(r"_(bucket|sum|count|created|total)$")
_THE_SAME_EVERYWHERE = {"engine", "model_name", "engine_type", "tp_rank", "pp_rank", "moe_ep_rank", "pid"}
_ENUMERATED = {"finished_reason", "sleep_state", "operation", "le"}
"""Labels whose values are a part of the contract."""


def samples(page: str) -> dict[str, float]:
    """The value of each sample by its name and labels, without the labels that all have in common."""
    found = {}
    for match in map(_SAMPLE.fullmatch, page.splitlines()):
        if match:
            labels = {key: text for key, text in _labels(match).items() if key not in _THE_SAME_EVERYWHERE}
            listed = ",".join(f"{key}={text}" for key, text in sorted(labels.items()))
            found[match["name"] + (f"{{{listed}}}" if listed else "")] = float(match["value"])
    return found


def moved(
    old: Mapping[str, float], new: Mapping[str, float], exact: str, signs: str = "(?!)"
) -> dict[str, float | str]:
    """By how much the samples whose names match `exact` moved; of those that match `signs`, only whether and where."""
    deltas = {name: new.get(name, 0.0) - old.get(name, 0.0) for name in sorted(old.keys() | new.keys())}
    seen: dict[str, float | str] = {name: d for name, d in deltas.items() if d and re.fullmatch(exact, _bare(name))}
    seen |= {name: "+" if d > 0 else "-" for name, d in deltas.items() if d and re.fullmatch(signs, _bare(name))}
    return seen


def families(page: str, pattern: str) -> dict[str, Any]:
    """The form of the metrics whose names match: type, labels, and the values of labels that are a fixed list."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    seen: dict[str, Any] = {}
    for match in map(_SAMPLE.fullmatch, page.splitlines()):
        if not match:
            continue
        base = match["name"] if match["name"] in types else _SUFFIX.sub("", match["name"])
        if not re.fullmatch(pattern, base):
            continue
        family = seen.setdefault(base, {"type": types.get(base, "none"), "samples": set(), "labels": set()})
        family["samples"].add(match["name"].removeprefix(base))
        for key, text in _labels(match).items():
            family["labels"].add(key)
            if key in _ENUMERATED:
                family.setdefault(key, set()).add(text)
    return {
        base: {key: sorted(value) if isinstance(value, set) else value for key, value in family.items()}
        for base, family in sorted(seen.items())
    }


def _labels(match: re.Match[str]) -> dict[str, str]:
    return dict(_LABEL.findall(match["labels"] or ""))


def _bare(name: str) -> str:
    return name.partition("{")[0]
