"""Answers bound to a grammar: choices, regular expressions, JSON schemas."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mock_server.errors import ApiError
from mock_server.judge.answers import Answer
from mock_server.requests.fields import Fields
from mock_server.requests.json_schemas import Instances, UnsupportedSchema
from mock_server.requests.regexes import UnsupportedPattern, first, matching
from mock_server.requests.structured import Constraint, read_constraint

RIGHT, WRONG = Answer("fine", verdict=True), Answer("not so", verdict=False)


@pytest.mark.parametrize(
    "pattern",
    [
        "(True|False)",
        r"\\boxed\{(True|False)\}",
        r"[A-D]",
        r"[^a0]x{3,5}\d+(\.\d{2})?",
        r"^\w+\s\S\D\W$",
        r"(?P<name>[^\d\s]+)-.*?[\n-~]",
        r"(?:ab|c)*d+?",
        "[^a]",
        "",
    ],
)
def test_a_text_that_the_pattern_matches(pattern: str) -> None:
    assert re.fullmatch(pattern, matching(pattern))


@pytest.mark.parametrize("pattern", ["(", "(?=a)b", r"(a)\1", r"[^\s\S]"])
def test_patterns_beyond_a_grammar(pattern: str) -> None:
    with pytest.raises(UnsupportedPattern):
        matching(pattern)


def instance(schema: Any, truth: bool = True) -> Any:
    return json.loads(Instances(schema, first, truth, "because").make())


TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "leaf": {"type": "boolean"}}, "required": ["leaf"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "because"),
        ({"type": "string", "maxLength": 3}, "bec"),
        ({"type": "string", "minLength": 9}, "because.."),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"pattern": "a{2}"}, "aa"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "minimum": 3, "multipleOf": 5}, 5),
        ({"type": "number", "exclusiveMaximum": 0}, -0.5),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "maximum": 10}, 0),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "array", "prefixItems": [{"const": 1}]}, [1]),
        ({"enum": [3, 4]}, 3),
        ({"enum": [False, True]}, True),
        ({"anyOf": [{"const": "x"}, {"const": "y"}]}, "x"),
        ({"oneOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"$defs": {"v": {"const": 7}}, "$ref": "#/$defs/v"}, 7),
        ({"type": "object", "required": ["x"]}, {"x": {}}),
        (True, {}),
    ],
)
def test_instances(schema: Any, value: Any) -> None:
    assert instance(schema) == value


def test_a_recursive_schema_comes_to_an_end() -> None:
    depth, node = 0, instance(TREE)
    while "left" in node:
        depth, node = depth + 1, node["left"]
    assert depth > 0
    assert node == {"leaf": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"enum": []},
        {"anyOf": []},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org"},
        {"type": "string", "pattern": "("},
        {"properties": []},
        False,
        {"$ref": "#"},
    ],
)
def test_schemas_that_are_refused(schema: Any) -> None:
    with pytest.raises(UnsupportedSchema):
        instance(schema)


class TestConstraint:
    @pytest.mark.parametrize(
        ("kind", "value", "right", "wrong"),
        [
            ("choice", ["True", "False"], "True", "False"),
            ("choice", ["no", "yes"], "yes", "no"),
            ("choice", ["verdict: True", "verdict: False"], "verdict: True", "verdict: False"),
            ("regex", r"\\boxed\{(True|False)\}", r"\boxed{True}", r"\boxed{False}"),
            ("json", {"enum": ["False", "True"]}, '"True"', '"False"'),
            ("json", '{"type": "boolean"}', "true", "false"),
            ("json_object", True, '{"critique": "fine", "verdict": true}', '{"critique": "not so", "verdict": false}'),
        ],
    )
    def test_the_verdict_decides(self, kind: str, value: Any, right: str, wrong: str) -> None:
        constraint = Constraint(kind, value)
        constraint.check()
        assert (constraint.text(RIGHT, ""), constraint.text(WRONG, "")) == (right, wrong)

    def test_without_a_verdict_the_draw_decides(self) -> None:
        constraint = Constraint("choice", ["a", "b"])
        assert [constraint.text(Answer("?"), choice) for choice in ("a", "b", "")] == ["a", "b", "a"]

    @pytest.mark.parametrize(
        ("kind", "value", "message"),
        [
            ("choice", [], "Choice '[]' cannot be an empty list"),
            ("json", {"type": "nonsense"}, "Grammar error: Invalid type: nonsense"),
            ("json", "{", "Invalid JSON grammar specification."),
            ("json", " ", "structured_outputs.json cannot be an empty string"),
            ("json", json.loads('{"a":' * 70 + "1" + "}" * 70), "The JSON schema is nested too deeply: objects and "
             "arrays may nest at most 64 levels"),
            ("json_object", False, "structured_outputs.json_object must be True if set; omit structured_outputs to "
             "disable structured outputs"),
            ("regex", "a\0", "structured_outputs.regex must not contain a NUL character ('\\x00')"),
            ("regex", "(", "Grammar error: missing ), unterminated subpattern at position 0"),
            ("grammar", "root ::= x", "Invalid grammar specification."),
        ],
    )  # fmt: skip
    def test_refused(self, kind: str, value: Any, message: str) -> None:
        with pytest.raises(ApiError) as caught:
            Constraint(kind, value).check()
        assert (caught.value.status, caught.value.message) == (400, message)


class TestReading:
    def read(self, body: dict[str, Any]) -> Constraint | None:
        fields = Fields(body)
        constraint = read_constraint(fields)
        fields.check()
        return constraint

    def test_where_it_comes_from(self) -> None:
        assert self.read({}) is None
        assert self.read({"guided_choice": ["a"]}) is None
        assert self.read({"response_format": {"type": "text"}}) is None
        assert self.read({"response_format": {"type": "json_object"}}) == Constraint("json_object", True)
        schema = {"type": "json_schema", "json_schema": {"name": "v", "schema": {}}}
        assert self.read({"response_format": schema}) == Constraint("json", {})
        assert self.read({"structured_outputs": {"regex": "a"}}) == Constraint("regex", "a")
        both = {"structured_outputs": {"json": {"a": 1}}, "response_format": schema}
        assert self.read(both) == Constraint("json", {})

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"response_format": {"type": "junk"}}, "6 validation errors"),
            ({"response_format": 5}, "3 validation errors"),
            ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json_schema.name"),
            ({"structured_outputs": {"choice": "True"}}, "list_type"),
            ({"structured_outputs": {"choice": [1]}}, "structured_outputs.choice.0"),
            ({"structured_outputs": {"json": 5}}, "dict_type"),
            ({"structured_outputs": {"json_object": "x"}}, "bool_type"),
            ({"structured_outputs": {"choice": ["a"], "grammar": "b"}}, "multiple are specified: {'json': None"),
            ({"structured_outputs": {}}, "none are specified"),
        ],
    )
    def test_refused(self, body: dict[str, Any], words: str) -> None:
        with pytest.raises(ApiError) as caught:
            self.read(body)
        assert caught.value.status == 400
        assert words in caught.value.message
