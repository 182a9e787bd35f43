"""Scenarios: every mistake is explained with file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mock_server import Judge, Scenario, ScenarioError, load_scenario
from mock_server.scenario.files import DEFAULT_SCENARIO


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        Judge(load_scenario(path))
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "shapes:\n  no_box: 1.5\n",
            "s.yaml:2: shapes.no_box: input should be less than or equal to 1 (it is 1.5)",
        ),
        ("errors:\n  false_true: .nan\n", "s.yaml:2: errors.false_true: input should be a finite number (it is nan)"),
        (
            "\nerrors:\n  false_truee: 0.1\n",
            "s.yaml:3: errors.false_truee: unknown field; did you mean false_true? "
            "allowed here: false_true, false_false",
        ),
        (
            "nonsense: 1\n",
            "s.yaml:1: nonsense: unknown field; "
            "allowed here: oracle, errors, shapes, critique, faults, prompt, unrecognised",
        ),
        (
            "oracle:\n  - rules:\n      - {problem: eggs, verdict: true}\n      - {problem: ducks}\n",
            "s.yaml:4: oracle.0.rules.1.verdict: missing",
        ),
        (
            "oracle:\n  rules:\n    - solution: {regex: '('}\n      verdict: false\n",
            "s.yaml:3: oracle.rules.0.solution.regex: not a regular expression: "
            "missing ), unterminated subpattern at position 0 (it is '(')",
        ),
        (
            "oracle:\n  - rules:\n    - verdict: true\n      problem: {regex: a, contains: b}\n",
            "s.yaml:4: oracle.0.rules.0.problem: give one of: contains, regex",
        ),
        (
            "oracle:\n  - arithmetic: true\n    default: true\n",
            "s.yaml:2: oracle.0: give exactly one of: rules, pairs, pairs_file, ground_truth_file, arithmetic, default",
        ),
        (
            "oracle:\n  - arithmetic: true\n  - pairs_file: no.jsonl\n",
            "s.yaml:3: oracle.1.pairs_file: there is no file no.jsonl (it is 'no.jsonl')",
        ),
        (
            "shapes: {no_box: 0.5,\n  two_boxes: 0.6}\n",
            "s.yaml:1: shapes: the shares must not add up to more than 1 (they add up to 1.1)",
        ),
        (
            "critique: {min_words: 9, max_words: 3}\n",
            "s.yaml:1: critique: min_words (9) is more than max_words (3)",
        ),
        ("errors: {}\nshapes: {}\nerrors: {}\n", "s.yaml:3: errors: given twice"),
        ("a: [1\n", "s.yaml:2: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: \x07\n", "s.yaml: not YAML: unacceptable character"),
        ("- 1\n", "s.yaml:1: input should be a valid dictionary or instance of Scenario (it is [1])"),
        ("unrecognised: [" + "x, " * 50 + "]", "s.yaml:1: unrecognised: input should be a valid string (it is ['x'"),
        ("oracle: {default: maybe}", "s.yaml:1: oracle.default: input should be a valid boolean"),
        ("oracle: {rulez: []}", "s.yaml:1: oracle.rulez: unknown field; did you mean rules?"),
    ],
)
def test_mistakes_come_with_file_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).startswith(message)


def test_several_mistakes_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "shapes:\n  no_box: -1\n  truncated: 2\n")
    assert [line.split(": ")[0] for line in message.splitlines()] == ["s.yaml:2", "s.yaml:3"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "t.jsonl:2: not JSON: Expecting property name enclosed in double quotes"),
        (b"\xff", "t.jsonl:2: not JSON: 'utf-8' codec can't decode"),
        ("[]", "t.jsonl:2: must be an object with problem, solution, label"),
        ('{"problem": "p"}', "t.jsonl:2: solution: missing; each row needs problem, solution, label"),
        ('{"problem": "p", "solution": 1, "label": 1}', "t.jsonl:2: solution: wrong type (it is 1)"),
    ],
)
def test_mistakes_in_data_files(tmp_path: Path, row: str | bytes, message: str) -> None:
    data = row.encode() if isinstance(row, str) else row
    (tmp_path / "t.jsonl").write_bytes(b'{"problem": "p", "solution": "s", "label": true}\n' + data + b"\n")
    assert refused(tmp_path, "oracle: {pairs_file: t.jsonl}\n").startswith(message)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no\.yaml: cannot be read: .*No such file"):
        load_scenario(tmp_path / "no.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff")
    with pytest.raises(ScenarioError, match=r"latin\.yaml: cannot be read"):
        load_scenario(str(tmp_path / "latin.yaml"))


def test_a_data_file_that_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.touch()
    scenario = load_scenario({"oracle": {"pairs_file": str(path)}})
    path.unlink()
    with pytest.raises(ScenarioError, match=r"t\.jsonl: cannot be read"):
        Judge(scenario)


def test_mistakes_in_plain_data() -> None:
    with pytest.raises(ScenarioError, match=r"^scenario: shapes\.no_box: input should be"):
        load_scenario({"shapes": {"no_box": 2}})


def test_the_bundled_scenario_shows_every_default() -> None:
    bundled = load_scenario()
    assert bundled == Scenario()
    shown = DEFAULT_SCENARIO.read_text(encoding="utf-8")
    fields: list[Any] = [Scenario.model_fields, *(type(getattr(bundled, name)).model_fields for name in (
        "errors", "shapes", "critique", "prompt"))]  # fmt: skip
    assert all(f"{name}:" in shown for group in fields for name in group)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}", "a: &a [1]\nb: *a\n"])
def test_empty_files_and_aliases(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    if "&" in text:
        with pytest.raises(ScenarioError, match="unknown field"):
            load_scenario(path)
    else:
        assert load_scenario(path) == Scenario()


def test_a_scenario_passes_through() -> None:
    scenario = Scenario(unrecognised="?")
    assert load_scenario(scenario) is scenario
