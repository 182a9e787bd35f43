"""What a server is told of the caller's surroundings: proxies, and where models come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_HUB = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN")


def proxies() -> dict[str, str]:
    """The caller's proxies; between processes of this machine none has any business."""
    given = {name: value for name in _PROXIES for name, value in _either(name)}
    none = ",".join([*(value for _, value in _either("no_proxy")[:1]), "127.0.0.1"])
    return {**given, "no_proxy": none, "NO_PROXY": none}


def _either(name: str) -> list[tuple[str, str]]:
    """The variable in small and in capital letters, where it says something."""
    return [(spelled, os.environ[spelled]) for spelled in (name, name.upper()) if os.environ.get(spelled)]


def hub() -> Mapping[str, str]:
    """How the Hugging Face Hub is reached."""
    return {name: os.environ[name] for name in _HUB if os.environ.get(name)}


def is_offline() -> bool:
    """Whether no model may be downloaded."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def hub_cache() -> Path:
    """The folder with the models that the caller has downloaded."""
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").absolute()
