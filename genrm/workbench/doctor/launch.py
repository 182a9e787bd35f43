"""A verl configuration or launch script -> what it sets. Nothing of it is run.

Taken are the configuration that Hydra composed (``outputs/.../.hydra/config.yaml``), its ``overrides.yaml``, a
configuration of one's own, and shell scripts: there ``key=value`` words (also ``+key=``, ``++key=``, and whole
branches, ``key={a:1,b:2}``) and GENRM_* variables are read. What the shell would fill in (``$VAR``) stays as it is
written: its value is not known here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genrm.errors import GenRMError
from genrm.settings import PREFIX
from genrm.workbench.doctor.branches import leaves

MODULES = "VERL_USE_EXTERNAL_MODULES"
"""The variable by which verl loads plugins."""

# The words of a shell script, comments between them; a quoted string may hold line breaks.
_WORD = re.compile(
    r"""(?<!\S)\#[^\n]* | (?: \\[^\n] | '[^']*' | "(?:\\.|[^"\\])*" | [^\s'"\\;&|<>()`] )+""", re.VERBOSE | re.DOTALL
)
_OVERRIDE = re.compile(r"(?:\+\+|\+)?([A-Za-z_][\w/@-]*(?:\.[\w/@-]+)*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(rf"({PREFIX}\w+|{MODULES})=(.*)", re.DOTALL)
_ENV_VARS = "ray_kwargs.ray_init.runtime_env.env_vars"
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*\.main_\w+|[A-Za-z_]\w*(?:\.\w+)*_main")


class LaunchError(GenRMError):
    """A file cannot be read as a verl configuration or launch script."""


@dataclass(frozen=True)
class Unknown:
    """A value that only the shell or Hydra knows, as it is written."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class Launch:
    """What files set; the later one wins.

    Attributes:
        names: of the files.
        values: dotted key -> value; keys that are null are left out.
        variables: GENRM_* variables that a script sets, and verl's for plugins.
        modules: Python modules that a script starts.
        composed_by_old: it is what Hydra composed in a verl that had no `reward` branch yet.
    """

    names: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    composed_by_old: bool = False

    def under(self, prefix: str) -> dict[str, Any]:
        """The values whose key begins with `prefix` and a dot, by the rest of their key."""
        start = f"{prefix}."
        return {key[len(start) :]: value for key, value in self.values.items() if key.startswith(start)}


def read_launch(paths: Iterable[Path]) -> Launch:
    """What the files set together.

    Raises:
        LaunchError: one cannot be read, or sets nothing.
    """
    launch = Launch()
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise LaunchError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise LaunchError(f"{path} cannot be read: it is no text") from None
        before = len(launch.values)
        if path.suffix.lower() in (".yaml", ".yml"):
            _read_yaml(path, text, launch)
        else:
            _read_script(text, launch)
        if len(launch.values) == before:
            raise LaunchError(
                f"{path} sets nothing of verl's; wanted is a launch script with key=value words for verl, or a "
                "configuration in YAML, such as .hydra/config.yaml in the run's output folder"
            )
        launch.names.append(str(path))
    # So they come to workers on other hosts.
    launch.variables.update(
        {name: value for name, value in launch.under(_ENV_VARS).items() if _VARIABLE.fullmatch(f"{name}=")}
    )
    return launch


def _read_yaml(path: Path, text: str, launch: Launch) -> None:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LaunchError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if isinstance(data, Mapping):
        launch.values.update(_flat(data))
        launch.composed_by_old |= {"trainer", "custom_reward_function"} <= data.keys() and "reward" not in data
    elif isinstance(data, list):
        _read_words((word for word in data if isinstance(word, str)), launch)


def _flat(data: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            values.update(_flat(value, f"{name}."))
        elif value is not None:
            values[name] = Unknown(value) if isinstance(value, str) and "${" in value else value
    return values


def _read_script(text: str, launch: Launch) -> None:
    words = (match[0] for match in _WORD.finditer(text))
    _read_words((_unquoted(word) for word in words if not word.startswith("#")), launch)


def _unquoted(word: str) -> str:
    try:
        return "".join(shlex.split(word))
    except ValueError:  # a quote that is never closed
        return word


def _read_words(words: Iterable[str], launch: Launch) -> None:
    for word in words:
        if variable := _VARIABLE.fullmatch(word):
            launch.variables[variable[1]] = _literal(variable[2])
        elif override := _OVERRIDE.fullmatch(word):
            _override(override[1], override[2], launch.values)
        elif _MODULE.fullmatch(module := word.removesuffix(".py").replace("/", ".")):
            launch.modules.add(module)


def _override(key: str, text: str, values: dict[str, Any]) -> None:
    branch = leaves(text)
    if branch is not None:
        given = {f"{key}.{rest}": leaf for rest, leaf in branch.items()}
    else:
        given = {key: text} if "." in key else {}  # without a dot it is a variable of the shell's
    for name, leaf in given.items():
        value = _value(leaf)
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value


def _literal(text: str) -> str | Unknown:
    return Unknown(text) if "$" in text or "`" in text else text


def _value(text: str) -> Any:
    """A value as Hydra reads it: numbers, booleans and lists much as in YAML."""
    literal = _literal(text)
    if isinstance(literal, Unknown):
        return literal
    try:
        return yaml.safe_load(literal)
    except yaml.YAMLError:
        return literal
