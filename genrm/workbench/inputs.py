"""Files of solutions -> rows to be judged.

Three formats: JSONL with a problem and a solution a line; verl's parquet files with the policy's responses; and the
shape of GSM8K's example_model_solutions.jsonl, several labelled solutions a line. A line that cannot be read becomes a
`BadRow` with its number, and the rest goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from genrm.errors import GenRMError
from genrm.samples import Sample


class Format(str, Enum):
    """How a file of solutions is written."""

    AUTO = "auto"
    JSONL = "jsonl"
    VERL = "verl"
    GSM8K_SOLUTIONS = "gsm8k-solutions"


@dataclass(frozen=True)
class Columns:
    """The names of a file's columns."""

    problem: str = "problem"
    solution: str = "solution"
    label: str = "label"
    answer: str = "answer"
    id: str = "id"


@dataclass(frozen=True)
class Row:
    """One solution to be judged.

    Attributes:
        id: the same each time the file is read.
        sample: the problem and the solution.
        label: whether the solution is right; None where the file does not say.
        where: where it stands in the file, for messages.
    """

    id: str
    sample: Sample
    label: bool | None
    where: str = ""


# An id, a sample and a label.
_Parts = tuple[str, Sample, bool | None]


@dataclass(frozen=True)
class BadRow:
    """A part of the file that cannot be judged: where it stands, and why."""

    where: str
    why: str


class InputError(GenRMError):
    """A file cannot be read at all."""


def read_rows(path: Path, form: Format = Format.AUTO, columns: Columns | None = None) -> Iterator[Row | BadRow]:
    """The rows of a file, one at a time, in its order; ids are the same each time, and no id comes twice.

    Raises:
        InputError: the file cannot be opened, or its format is not installed.
    """
    columns = columns or Columns()
    if form is Format.AUTO:
        form = Format.VERL if path.suffix.lower() == ".parquet" else Format.JSONL
    read = {Format.VERL: _read_verl, Format.JSONL: _read_jsonl, Format.GSM8K_SOLUTIONS: _read_gsm8k}[form]
    seen: set[str] = set()
    for row in read(path, columns):
        if isinstance(row, Row) and row.id in seen:
            yield BadRow(row.where, f"the id {row.id!r} was there before")
        else:
            if isinstance(row, Row):
                seen.add(row.id)
            yield row


def _row(where: str, parts: Callable[..., _Parts], *arguments: Any) -> Row | BadRow:
    """The row of what `parts(*arguments)` returns, or what is wrong with it."""
    try:
        name, sample, label = parts(*arguments)
        _ = sample.problem, sample.reference  # they raise here what would else be raised while judging
    except RecursionError:
        return BadRow(where, "nested too deeply")
    except ValueError as error:  # a SampleError is one
        return BadRow(where, str(error))
    return Row(name, sample, label, where)


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Row | BadRow]:
    for number, line in _lines(path):
        yield _row(f"line {number}", _parts_of_jsonl, line, number, columns)


def _parts_of_jsonl(line: str, number: int, columns: Columns) -> _Parts:
    data = _object(line)
    problem, solution = _problem(data, columns.problem), _string(data, columns.solution)
    sample = Sample(solution, data.get(columns.answer), extra_info={"question": problem})
    name = data.get(columns.id)
    return str(number if name is None else name), sample, _label(data.get(columns.label))


def _read_gsm8k(path: Path, _columns: Columns) -> Iterator[Row | BadRow]:
    for number, line in _lines(path):
        where = f"line {number}"
        try:
            data = _object(line)
        except ValueError as error:
            yield BadRow(where, str(error))
            continue
        models = [name for name, value in data.items() if isinstance(value, dict)]
        if not models:
            yield BadRow(where, f"no model's solution; there are {_names(data)}")
        for model in models:
            yield _row(f"{where}, {model!r}", _parts_of_gsm8k, data, number, model)


def _parts_of_gsm8k(data: Mapping[str, Any], number: int, model: str) -> _Parts:
    problem, solution = _problem(data, "question"), _string(data[model], "solution")
    truth = str(data.get("ground_truth", "")).rpartition("A:")[2].strip() or None
    sample = Sample(solution, truth, "gsm8k", {"question": problem})
    return f"{number}/{model}", sample, _label(data[model].get("is_correct"))


def _read_verl(path: Path, columns: Columns) -> Iterator[Row | BadRow]:
    for number, data in _parquet_rows(path):
        where = f"row {number}"
        solutions = data.get("responses", data.get(columns.solution, data.get("response")))
        if isinstance(solutions, str):
            solutions = [solutions]
        labels = data.get(columns.label)
        if not isinstance(solutions, list) or not solutions:
            yield BadRow(where, f"no text in 'responses' or {columns.solution!r}; there are {_names(data)}")
        elif isinstance(labels, list) and len(labels) != len(solutions):
            yield BadRow(where, f"{len(labels)} label(s) for {len(solutions)} response(s)")
        else:
            for index, solution in enumerate(solutions):
                label = labels[index] if isinstance(labels, list) else labels
                name = f"{number}/{index}"
                yield _row(f"{where}, response {index}", _parts_of_verl, data, name, solution, label, columns)


def _parts_of_verl(data: Mapping[str, Any], name: str, solution: Any, label: Any, columns: Columns) -> _Parts:
    extra_info = {"prompt": data.get("prompt"), **_struct(data, "extra_info")}
    if columns.problem in data:
        extra_info["question"] = data[columns.problem]
    truth = _struct(data, "reward_model").get("ground_truth", data.get(columns.answer))
    return name, Sample.from_verl(data.get("data_source"), solution, truth, extra_info), _label(label)


_BYTE_ORDER_MARK = "\ufeff"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    # Windows' editors put it there. (Python's utf-8-sig also takes half of one away.)
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                if line.strip():
                    yield number, line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _object(line: str) -> dict[str, Any]:
    try:
        line.encode("utf-8")
        data = json.loads(line)
    except UnicodeEncodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(data, dict):
        raise ValueError(f"no JSON object, but {type(data).__name__}")
    return data


def _string(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"no text in {name!r}; there are {_names(data)}")
    return value


def _problem(data: Mapping[str, Any], name: str) -> str:
    text = _string(data, name)
    if not text.strip():
        raise ValueError(f"{name!r} is blank")
    return text


def _struct(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, (Mapping, type(None))):
        raise ValueError(f"{name!r} must be a struct, but is {type(value).__name__}")
    return value or {}


def _names(data: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, data)) or "no keys"


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(
            f"{path} is a parquet file, and pyarrow is not installed: pip install 'genrm-harness[parquet]'"
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for data in batch.to_pylist():
                    number += 1
                    yield number, data
    # ValueError: text that is not UTF-8, times that Python has no form for.
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


_LABELS: Mapping[str, bool] = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def _label(value: Any) -> bool | None:
    if value is None:
        return None
    label = _LABELS.get(str(value).strip().lower())
    if label is None:
        raise ValueError(f"the label must be true or false, but is {value!r}")
    return label
