"""Server versions: how each differs from vLLM 0.32.0, as data in profiles/*.yaml (contract section 5)."""

from __future__ import annotations

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


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@cache
def profile(name: str = DEFAULT_PROFILE) -> Profile:
    """The profile of a server version. Raises ValueError for one that is not there."""
    if name not in names():
        raise ValueError(f"unknown profile {name!r}; there are {', '.join(names())}")
    values = {**_read(DEFAULT_PROFILE), **_read(name)}
    for field in ("finish_reasons", "suffix_refused", "guarded"):
        values[field] = tuple(values[field])
    for field in ("absent", "absent_metrics"):
        values[field] = frozenset(values[field])
    return Profile(**{**values, "engine": EngineRules(**values["engine"])})


def _read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return values
