"""Which keys a version of verl obeys, and what a launch comes to by them. The facts are in verl.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from genrm.workbench.doctor.launch import Launch, LaunchError


@cache
def facts() -> Mapping[str, Any]:
    """What is in verl.yaml."""
    data: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("verl.yaml").read_text(encoding="utf-8"))
    return data


@dataclass(frozen=True)
class Verl:
    """A version of verl.

    Attributes:
        version: as its package says it.
        source: where that is known from.
    """

    version: Version
    source: str

    @classmethod
    def chosen(cls, version: str | None, launch: Launch) -> Verl:
        """The version that was asked for, else the installed one, else the newest that fits.

        Raises:
            LaunchError: it is no version.
        """
        if version is not None:
            try:
                return cls(Version(version), "as told by --verl")
            except InvalidVersion:
                raise LaunchError(f"{version!r} is no version of verl; a version is such as 0.9.1") from None
        try:
            return cls(Version(metadata.version("verl")), "installed here")
        except (metadata.PackageNotFoundError, InvalidVersion):
            if launch.composed_by_old:
                return cls(
                    Version(facts()["newest_old"]), "or an older one, which composed this; another one by --verl"
                )
            return cls(Version(facts()["newest"]), "none is installed here; another one by --verl")

    def obeys(self, launch: Launch) -> str:
        """Which names of keys count for a launch: "old", "new" or "both"."""
        obeyed = next(row["keys"] for row in reversed(facts()["obeys"]) if self.version >= Version(row["since"]))
        mains = {module for module in launch.modules if "verl" in module.split(".")}
        if obeyed == "new" and mains and mains <= set(facts()["obey_both"]):
            return "both"
        return str(obeyed)


@dataclass(frozen=True)
class Moved:
    """A key that a launch sets by a name that verl has changed."""

    old: str
    new: str
    value: Any


def moved_keys(launch: Launch) -> Iterator[Moved]:
    """The old names that a launch uses."""
    for key, value in launch.values.items():
        new = _renamed(key, facts()["moved"])
        if new:
            yield Moved(key, new, value)


def new_keys(launch: Launch) -> list[str]:
    """The new names that a launch uses."""
    return [key for key in launch.values if key.startswith("reward.")]


def old_name(key: str) -> str:
    """The name that a new name had; the key itself where it has not changed."""
    return _renamed(key, {new: old for old, new in facts()["moved"].items()}) or key


def effective(launch: Launch, obeys: str) -> dict[str, Any]:
    """What a launch sets, by the new names, as far as verl obeys; with verl's defaults."""
    values = {
        **facts()["defaults"],
        **{key: value for key, value in launch.values.items() if obeys != "old" or not key.startswith("reward.")},
    }
    if obeys != "new":
        values.update({key.new: key.value for key in moved_keys(launch)})
    return values


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """The key by the name that the longest fitting branch has now; "" where none has another name."""
    for before, after in sorted(names.items(), key=lambda item: -len(item[0])):
        if key == before or key.startswith(f"{before}."):
            return f"{after}{key[len(before) :]}"
    return ""
