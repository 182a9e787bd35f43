"""Structured outputs: what a request binds the answer to, and an answer that keeps to it (contract section 3).

The judge's verdict decides wherever the grammar leaves a choice that reads like one: `["True", "False"]`, an enum, a
boolean, the branches of a regular expression.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mock_server.errors import Problem, bad_request
from mock_server.judge.answers import Answer
from mock_server.requests.fields import Fields
from mock_server.requests.json_schemas import DEEPEST, Instances, UnsupportedSchema
from mock_server.requests.regexes import UnsupportedPattern, matching

KINDS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_FORMAT_TYPES = "'text', 'json_object' or 'json_schema'"
_TRUE_WORDS = ("true", "yes", "correct", "right", "1", "pass", "good", "accept")
_FALSE_WORDS = ("false", "no", "incorrect", "wrong", "0", "fail", "bad", "reject")


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer is bound to: its kind (one of KINDS) and the choices, pattern, schema or grammar."""

    kind: str
    value: Any

    def check(self) -> None:
        """Raises ApiError (400) for a grammar that the real server refuses, or that the mock cannot follow."""
        if self.kind == "choice" and not self.value:
            raise bad_request(f"Choice '{self.value}' cannot be an empty list")
        if self.kind == "json_object" and self.value is False:
            raise bad_request(
                "structured_outputs.json_object must be True if set; omit structured_outputs to disable structured "
                "outputs"
            )
        if (
            self.kind in ("json", "grammar", "structural_tag")
            and isinstance(self.value, str)
            and not self.value.strip()
        ):
            raise bad_request(f"structured_outputs.{self.kind} cannot be an empty string")
        if self.kind == "regex" and "\0" in self.value:
            raise bad_request("structured_outputs.regex must not contain a NUL character ('\\x00')")
        if self.kind in ("grammar", "structural_tag"):
            raise bad_request(f"Invalid {self.kind.replace('_', ' ')} specification.")
        self.text(Answer(""), "")

    def text(self, answer: Answer, choice: str) -> str:
        """What `answer` says when bound; `choice` is taken among words that the verdict does not decide."""
        verdict = answer.verdict

        def pick(options: list[str]) -> str:
            return _by_verdict(options, verdict) or (choice if choice in options else options[0])

        if self.kind == "choice":
            return pick(self.value)
        try:
            if self.kind == "regex":
                return matching(self.value, pick)
            if self.kind == "json_object":
                return json.dumps({"critique": answer.text, "verdict": bool(verdict)}, ensure_ascii=False)
            return Instances(_schema(self.value), pick, bool(verdict), answer.text).make()
        except (UnsupportedPattern, UnsupportedSchema) as error:
            raise bad_request(f"Grammar error: {error}") from None


def with_guided_fields(body: dict[str, Any]) -> dict[str, Any]:
    """The body as a version before 0.11 reads it: guided_choice and its like are what binds the answer."""
    given = {kind: body[f"guided_{kind}"] for kind in KINDS[:4] if body.get(f"guided_{kind}") is not None}
    others = {name: value for name, value in body.items() if name != "structured_outputs"}
    return {**others, "structured_outputs": given} if given else others


def read_constraint(fields: Fields) -> Constraint | None:
    """The constraint of a request, from `structured_outputs` or `response_format`. Raises ApiError (400) for two."""
    values = fields.values
    if values.get("structured_outputs") is None and values.get("response_format") is None:
        return None
    formatted = _of_response_format(fields)
    given = fields.mapping("structured_outputs")
    if given is None:
        return formatted
    named = {kind: given[kind] for kind in KINDS if given.get(kind) is not None}
    if not _typed(fields, named):
        return None
    if formatted:
        given = {**given, formatted.kind: formatted.value}
        named[formatted.kind] = formatted.value
    if len(named) != 1:
        fault = "can only use one" if named else "must use one"
        which = "multiple are specified" if named else "none are specified"
        raise bad_request(f"You {fault} kind of structured outputs constraint but {which}: {_spelt(given)}")
    return Constraint(*next(iter(named.items())))


def _of_response_format(fields: Fields) -> Constraint | None:
    given = fields.values.get("response_format")
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "json_object":
        return Constraint("json_object", True)
    if kind == "json_schema":
        wrapped = given.get("json_schema")
        if not isinstance(wrapped, dict) or not isinstance(wrapped.get("name"), str):
            fields.reject("missing", "response_format.json_schema.name", "Field required", wrapped)
            return None
        schema = wrapped.get("schema")
        return None if schema is None else Constraint("json", schema)
    if kind == "structural_tag":
        return Constraint("structural_tag", json.dumps(given))
    if kind != "text":
        _reject_format(fields, given, kind)
    return None


def _reject_format(fields: Fields, given: Any, kind: Any) -> None:
    """The six complaints of a union of three models, in the real server's order."""
    if not isinstance(given, dict):
        for _ in range(3):
            message = "Input should be a valid dictionary or object to extract fields from"
            fields.reject("model_attributes_type", "response_format", message, given)
        return
    name = "response_format.type"
    plain = f"Input should be {_FORMAT_TYPES}"
    tag = "Input should be 'structural_tag'"
    fields.reject("literal_error", name, plain, kind, {"expected": _FORMAT_TYPES})
    for missing in (("format",), ("structures", "triggers")):
        fields.reject("literal_error", name, tag, kind, {"expected": "'structural_tag'"})
        for field in missing:
            fields.reject("missing", f"response_format.{field}", "Field required", given)


def _typed(fields: Fields, named: Mapping[str, Any]) -> bool:
    before = len(fields.problems)
    for kind, value in named.items():
        name = f"structured_outputs.{kind}"
        if kind == "choice":
            if not isinstance(value, list):
                fields.reject("list_type", name, "Input should be a valid list", value)
                continue
            for index, item in enumerate(value):
                if not isinstance(item, str):
                    fields.reject("string_type", f"{name}.{index}", "Input should be a valid string", item)
        elif kind == "json_object":
            if not isinstance(value, bool):
                fields.reject("bool_type", name, "Input should be a valid boolean", value)
        elif not isinstance(value, str) and not (kind == "json" and isinstance(value, dict)):
            fields.reject("string_type", name, "Input should be a valid string", value)
            if kind == "json":
                fields.problems.append(
                    Problem("dict_type", f"body.{name}", "Input should be a valid dictionary", value)
                )
    return len(fields.problems) == before


def _spelt(given: Mapping[str, Any]) -> dict[str, Any]:
    """The constraint as the real server's message prints it."""
    return {
        **{name: given.get(name) for name in KINDS[:5]},
        "disable_any_whitespace": given.get("disable_any_whitespace", False),
        "disable_additional_properties": given.get("disable_additional_properties", False),
        "whitespace_pattern": given.get("whitespace_pattern"),
        "structural_tag": given.get("structural_tag"),
        "_backend": None,
        "_backend_was_auto": False,
    }


def _schema(value: Any) -> Any:
    schema = value
    if isinstance(value, str):
        try:
            schema = json.loads(value)
        except ValueError:
            raise bad_request("Invalid JSON grammar specification.") from None
    if _nesting(schema) > DEEPEST:
        raise bad_request(f"The JSON schema is nested too deeply: objects and arrays may nest at most {DEEPEST} levels")
    return schema


def _nesting(value: Any) -> int:
    """How many objects and arrays are inside each other; without recursion, which a client could exhaust."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _by_verdict(options: list[str], verdict: bool | None) -> str | None:
    """The option that says `verdict`, by its first word or, failing that, by a word in it."""
    if verdict is None:
        return None
    words = _TRUE_WORDS if verdict else _FALSE_WORDS
    for option in options:
        if option.strip().strip("\"'*.").lower() in words:
            return option
    return next((option for option in options if str(verdict) in option), None)
