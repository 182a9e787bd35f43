"""Server versions, as data in profiles/*.yaml: how each vLLM differs from 0.32.0 (contract section 5), and SGLang."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mock_server.engine.rules import EngineRules

DEFAULT_PROFILE = "vllm-0.32.0"
_FOLDER = Path(__file__).with_name("profiles")


@dataclass(frozen=True, slots=True)
class Profile:
    """One server version's behaviour."""

    version: str
    engine: EngineRules
    """How its engine sleeps, wakes and dies."""
    absent: frozenset[str]
    """The endpoints that are 404, of those of 0.32.0."""
    absent_metrics: frozenset[str]
    """The metrics that are not shown, of those of 0.32.0; without `vllm:`."""
    finish_reasons: tuple[str, ...]
    """Why a request may have finished, in the metrics."""
    sleep_bodies: bool
    """/sleep and /wake_up answer in JSON; otherwise 200 and nothing."""
    typed_sleep: bool
    """`level` and `mode` of /sleep are checked like other fields; otherwise any number is a level."""
    waits_for_inflight: bool
    """/pause knows wait_for_inflight_requests=true, an older word for mode=wait."""
    resets_say: bool
    """/reset_prefix_cache says whether it succeeded; otherwise 200 and nothing."""
    clamps_output: bool
    """max_tokens that do not fit after the prompt are cut down; otherwise refused."""
    guided_fields: bool
    """guided_choice, guided_json and guided_regex bind an answer; otherwise they are ignored, and structured_outputs
    does it."""
    names_aliases: bool
    """A 404 says which models there are."""
    echoes_input: bool
    """What is wrong with a body is said with the body, and with places as tuples."""
    flat_errors: bool
    """An error's body is {"object": "error", ...}; otherwise {"error": {...}}."""
    bare_errors: bool
    """A dead engine is a 500 without a body, and a failed call into it the plain text "Internal Server Error"."""
    any_origin: bool
    """Every web page may call (CORS)."""
    fingerprint: bool
    """Answers name the server's version (system_fingerprint)."""
    hottest: float
    """The highest temperature."""
    suffix_refused: tuple[str, str | None]
    """Message and param of the 400 for `suffix`."""
    guarded: tuple[str, ...]
    """The beginnings of the paths that ask for the API key."""


@dataclass(frozen=True, slots=True)
class SglangProfile:
    """One version of SGLang."""

    version: str
    memory: tuple[str, ...]
    """The tags of the memory that can be released, in the order in which it is resumed when none is named."""
    open: tuple[str, ...]
    """The beginnings of the paths that never ask for a key."""
    health_looks: int
    """How many intervals /health waits for its token."""
    sources: Mapping[str, tuple[str, int]]
    """The function behind a path and its line, as messages about wrong types name them."""


def names(kind: str = "") -> list[str]:
    """The profiles there are: all, or those of a kind of server."""
    return sorted(path.stem for path in _FOLDER.glob(f"{kind}*.yaml"))


def kind_of(name: str) -> str:
    """The kind of server that a profile is of, such as "vllm". Raises ValueError for a profile that is not there."""
    if name not in names():
        raise ValueError(f"unknown profile {name!r}; there are {', '.join(names())}")
    return name.partition("-")[0]


@cache
def profile(name: str = DEFAULT_PROFILE) -> Profile:
    """The profile of a version of vLLM. Raises ValueError for one that is not there."""
    if kind_of(name) != "vllm":
        raise ValueError(f"{name} is no profile of vLLM")
    values = {**_read(DEFAULT_PROFILE), **_read(name)}
    for field in ("finish_reasons", "suffix_refused", "guarded"):
        values[field] = tuple(values[field])
    for field in ("absent", "absent_metrics"):
        values[field] = frozenset(values[field])
    return Profile(**{**values, "engine": EngineRules(**values["engine"])})


@cache
def sglang_profile(name: str) -> SglangProfile:
    """The profile of a version of SGLang. Raises ValueError for one that is not there."""
    if kind_of(name) != "sglang":
        raise ValueError(f"{name} is no profile of SGLang")
    values = _read(name)
    values["sources"] = {path: (function, line) for path, (function, line) in values["sources"].items()}
    return SglangProfile(**{**values, "memory": tuple(values["memory"]), "open": tuple(values["open"])})


def _read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return values
