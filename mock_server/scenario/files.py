"""Read a scenario, and the data files it names, so that every mistake comes with its file, line and field."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mock_server.scenario.script import Scenario

DEFAULT_SCENARIO = Path(__file__).parent.parent / "scenarios" / "default.yaml"

Loc = tuple[int | str, ...]
Locate = Callable[[Loc], tuple[int | None, Loc]]
"""The line of a field, and the path to it as it was written."""
_LONGEST_ECHO = 60


class ScenarioError(ValueError):
    """A scenario or one of its data files is wrong. The text holds one line per mistake: `file:line: field: what`."""


def load_scenario(source: Scenario | dict[str, Any] | str | Path | None = None, name: str = "scenario") -> Scenario:
    """A scenario from a YAML file, from plain data, or the one that is bundled (None).

    Raises ScenarioError. Relative paths inside start at the file's folder, or at the working directory for plain data,
    whose mistakes come with `name` in the place of a file.
    """
    if isinstance(source, Scenario):
        return source
    if isinstance(source, dict):
        return _validated(source, name, None, Path())
    return read_scenario(DEFAULT_SCENARIO if source is None else Path(source))[0]


def read_scenario(path: Path) -> tuple[Scenario, Locate]:
    """The scenario in a YAML file, and where each of its fields stands. Raises ScenarioError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from None
    node = _composed(text, path)
    scenario = _validated(_constructed(node), str(path), node, path.parent)
    return scenario, lambda loc: _placed(node, loc)


def read_jsonl(path: Path, fields: dict[str, type | tuple[type, ...]]) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file, each checked to be an object with `fields` (name -> allowed types).

    Raises ScenarioError with the line. Blank lines are skipped, further fields ignored.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(line, f"{path}:{number}", fields)


def _row(line: bytes, where: str, fields: dict[str, type | tuple[type, ...]]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ScenarioError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ScenarioError(f"{where}: must be an object with {', '.join(fields)}")
    for name, types in fields.items():
        if name not in row:
            raise ScenarioError(f"{where}: {name}: missing; each row needs {', '.join(fields)}")
        if not isinstance(row[name], types):
            raise ScenarioError(f"{where}: {name}: wrong type (it is {_echo(row[name])})")
    return row


def _validated(data: Any, name: str, node: yaml.Node | None, base: Path) -> Scenario:
    try:
        return Scenario.model_validate({} if data is None else data, context={"base": base})
    except ValidationError as error:
        lines = [_explained(name, node, detail) for detail in error.errors(include_url=False)]
        raise ScenarioError("\n".join(lines)) from None


# --- YAML ---


def _composed(text: str, path: Path) -> yaml.Node | None:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(node, path, seen=set())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ScenarioError(f"{path}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from None
    return node


def _refuse_duplicates(node: yaml.Node | None, path: Path, seen: set[int]) -> None:
    """YAML readers let the second of two equal keys win in silence; in a script that is a mistake."""
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, path, seen)
        return
    names: set[str] = set()
    for key, value in node.value:
        if key.value in names:
            raise ScenarioError(f"{path}:{key.start_mark.line + 1}: {key.value}: given twice")
        names.add(key.value)
        _refuse_duplicates(value, path, seen)


def _constructed(node: yaml.Node | None) -> Any:
    if node is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


# --- explanations ---


def _explained(name: str, node: yaml.Node | None, detail: ErrorDetails) -> str:
    line, path = _placed(node, detail["loc"])
    where = f"{name}:{line}" if line else name
    field = ".".join(map(str, path))
    return ": ".join(filter(None, (where, field, _problem(detail))))


def _placed(node: yaml.Node | None, loc: Loc) -> tuple[int | None, Loc]:
    """The line where the field `loc` stands, and the path to it as it was written."""
    if node is None:
        return None, loc
    line, path = node.start_mark.line + 1, []
    for part in loc:
        if isinstance(part, int) and isinstance(node, yaml.SequenceNode):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(part, int):
            continue  # an oracle written as a mapping: its entries have no number
        else:
            key, value = _entry(node, part)
            if key is not None and value is not None:
                line, node = key.start_mark.line + 1, value
        path.append(part)
    return line, tuple(path)


def _entry(node: yaml.Node, name: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    entries = node.value if isinstance(node, yaml.MappingNode) else []
    return next(((key, value) for key, value in entries if key.value == name), (None, None))


def _problem(detail: ErrorDetails) -> str:
    kind, given = detail["type"], detail["input"]
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return _unknown_field(detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(given, BaseModel | dict):
        return message
    return f"{message} (it is {_echo(given)})"


def _unknown_field(loc: Loc) -> str:
    allowed = list(_model_at(loc[:-1]).model_fields)
    near = difflib.get_close_matches(str(loc[-1]), allowed, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"unknown field; {meant}allowed here: {', '.join(allowed)}"


def _model_at(loc: Loc) -> type[BaseModel]:
    """The part of the schema that the mapping at `loc` must follow."""
    model: type[BaseModel] = Scenario
    for part in loc:
        if isinstance(part, str):
            model = _inner_model(model.model_fields[part].annotation) or model
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner_model, get_args(annotation))), None)


def _echo(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "..."
