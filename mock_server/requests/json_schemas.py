"""A small instance of a JSON schema: what a judge says that is bound to one.

Every property that is named is given, so that a schema of a critique and a verdict gets both. Beyond the grammar of the
real server (`$ref` to other files, `patternProperties`, `not`, ...) keywords are ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from mock_server.requests.regexes import Pick, UnsupportedPattern, matching

DEEPEST = 64
"""vLLM refuses schemas nested more deeply; a recursive one ends long before."""
_OPTIONAL_DEPTH = 4
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "judge@example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.org",
    "ipv4": "127.0.0.1",
}
_TYPES_OF_KEYWORDS = {"properties": "object", "items": "array", "prefixItems": "array", "pattern": "string"}


class UnsupportedSchema(ValueError):
    """The schema is wrong, or demands what no grammar can."""


class Instances:
    """Makes instances of one schema. `pick` chooses among texts, `truth` is what a boolean says, `text` any string."""

    def __init__(self, schema: Any, pick: Pick, truth: bool, text: str) -> None:
        self.root = schema
        self.pick = pick
        self.truth = truth
        self.text = text

    def make(self) -> str:
        """An instance, as JSON. Raises UnsupportedSchema."""
        return json.dumps(self._value(self.root, 0), ensure_ascii=False)

    def _value(self, schema: Any, depth: int) -> Any:
        if schema is True or schema == {}:
            return {}
        if not isinstance(schema, dict):
            raise UnsupportedSchema("schema must be an object or boolean")
        if depth > DEEPEST:
            raise UnsupportedSchema("schema is nested too deeply")
        if "$ref" in schema:
            return self._value(self._referenced(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._of_enum(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._of_any(schema[keyword], depth)
        if "allOf" in schema:
            return self._value(_merged(schema), depth + 1)
        return self._of_type(schema, depth)

    def _of_enum(self, options: Any) -> Any:
        if not isinstance(options, list) or not options:
            raise UnsupportedSchema("enum must be an array of at least one value")
        if any(type(option) is bool for option in options):
            return self.truth if self.truth in options else options[0]
        texts = [option for option in options if isinstance(option, str)]
        return self.pick(texts) if texts else options[0]

    def _of_any(self, options: Any, depth: int) -> Any:
        """One of several schemas: for constants the choice is free, otherwise the first does."""
        if not isinstance(options, list) or not options:
            raise UnsupportedSchema("anyOf must be an array of at least one schema")
        constants = [option["const"] for option in options if isinstance(option, dict) and "const" in option]
        if len(constants) == len(options):
            return self._of_enum(constants)
        return self._value(options[0], depth + 1)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            kind = kind[0]
        if kind is None:
            kind = next((kind for keyword, kind in _TYPES_OF_KEYWORDS.items() if keyword in schema), "object")
        makers: dict[Any, Callable[[], Any]] = {
            "string": lambda: self._string(schema),
            "integer": lambda: _number(schema, whole=True),
            "number": lambda: _number(schema, whole=False),
            "boolean": lambda: self.truth,
            "null": lambda: None,
            "array": lambda: self._array(schema, depth),
            "object": lambda: self._object(schema, depth),
        }
        if not isinstance(kind, str) or kind not in makers:
            raise UnsupportedSchema(f"Invalid type: {kind}")
        return makers[kind]()

    def _string(self, schema: dict[str, Any]) -> str:
        if "pattern" in schema:
            try:
                return matching(schema["pattern"], self.pick)
            except (UnsupportedPattern, TypeError) as error:
                raise UnsupportedSchema(f"pattern: {error}") from None
        text = _FORMATS.get(schema.get("format", ""), self.text)
        least, most = schema.get("minLength", 0), schema.get("maxLength", len(text))
        return text[:most].ljust(least, ".")

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = [self._value(item, depth + 1) for item in schema.get("prefixItems", [])]
        missing = schema.get("minItems", 0) - len(first)
        return first + [self._value(schema.get("items", True), depth + 1) for _ in range(missing)]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise UnsupportedSchema("properties must be an object and required an array")
        # A recursive schema comes to an end because what is optional is left out further down.
        names = [name for name in properties if depth < _OPTIONAL_DEPTH or name in required]
        value = {name: self._value(properties[name], depth + 1) for name in names}
        return value | {name: {} for name in required if name not in value}

    def _referenced(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnsupportedSchema(f"cannot resolve {reference}")
        found = self.root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise UnsupportedSchema(f"cannot resolve {reference}")
            found = found[name]
        return found


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """`allOf` in one schema: properties and required names of all parts, other keywords of the last."""
    merged = {keyword: value for keyword, value in schema.items() if keyword != "allOf"}
    for part in schema["allOf"]:
        if not isinstance(part, dict):
            continue
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged.update(part)
        if properties:
            merged |= {"properties": properties, "required": required}
    return merged


def _number(schema: dict[str, Any], whole: bool) -> float:
    """The number nearest to 0 that the bounds allow."""
    step = schema.get("multipleOf", 1 if whole else 0.5)
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low > 0 or (low == 0 and "exclusiveMinimum" in schema):
        value = math.floor(low / step) * step + (0 if low % step == 0 and "exclusiveMinimum" not in schema else step)
    elif high < 0 or (high == 0 and "exclusiveMaximum" in schema):
        value = math.ceil(high / step) * step - (0 if high % step == 0 and "exclusiveMaximum" not in schema else step)
    else:
        value = 0
    return int(value) if whole else value
