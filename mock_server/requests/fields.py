"""Typed reading of a request's fields by hand: what pydantic accepts and what it says, at a third of its cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mock_server.errors import Problem, invalid

_TRUE = frozenset({"true", "1", "yes", "y", "on", "t"})
_FALSE = frozenset({"false", "0", "no", "n", "off", "f"})


class Fields:
    """Reads fields of a body (or a query), noting what is wrong with them; `check` then refuses the request.

    As in pydantic's lax mode numbers may come as strings ("4"). A field that is absent, null or wrong reads as None.
    """

    def __init__(self, values: Mapping[str, Any], place: str = "body") -> None:
        self.values = values
        self.place = place
        self.problems: list[Problem] = []

    def check(self) -> None:
        """Raises ApiError (400) if anything read so far was wrong."""
        if self.problems:
            raise invalid(self.problems)

    def reject(self, kind: str, name: str, message: str, given: object, ctx: dict[str, Any] | None = None) -> None:
        """Note a problem with the field `name`."""
        self.problems.append(Problem(kind, f"{self.place}.{name}", message, given, ctx))

    def missing(self, name: str) -> None:
        """Note that the field `name` is required."""
        self.reject("missing", name, "Field required", self.values)

    def string(self, name: str) -> str | None:
        """A string."""
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return value
        self.reject("string_type", name, "Input should be a valid string", value)
        return None

    def integer(self, name: str) -> int | None:
        """A whole number."""
        value = self.values.get(name)
        if value is None or type(value) is int:
            return value
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                problem = "Input should be a valid integer, unable to parse string as an integer"
                self.reject("int_parsing", name, problem, value)
        elif not isinstance(value, float):
            self.reject("int_type", name, "Input should be a valid integer", value)
        elif value.is_integer():
            return int(value)
        else:
            problem = "Input should be a valid integer, got a number with a fractional part"
            self.reject("int_from_float", name, problem, value)
        return None

    def number(self, name: str) -> float | None:
        """A number, also nan and the infinities."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                problem = "Input should be a valid number, unable to parse string as a number"
                self.reject("float_parsing", name, problem, value)
        else:
            self.reject("float_type", name, "Input should be a valid number", value)
        return None

    def boolean(self, name: str, default: bool = False) -> bool:
        """True or false, also by the words and numbers that pydantic takes for them."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        text = str(value).lower() if isinstance(value, str | int | float) else ""
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text:
            self.reject("bool_parsing", name, "Input should be a valid boolean, unable to interpret input", value)
        else:
            self.reject("bool_type", name, "Input should be a valid boolean", value)
        return default

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """An object."""
        value = self.values.get(name)
        if value is None or isinstance(value, dict):
            return value
        problem = "Input should be a valid dictionary or object to extract fields from"
        self.reject("model_attributes_type", name, problem, value)
        return None

    def integers(self, name: str) -> list[int] | None:
        """A list of whole numbers."""
        value = self.values.get(name)
        if value is None or (isinstance(value, list) and all(type(item) is int for item in value)):
            return value
        if not isinstance(value, list):
            self.reject("list_type", name, "Input should be a valid list", value)
            return None
        items = Fields({f"{name}.{index}": item for index, item in enumerate(value)}, self.place)
        numbers = [items.integer(key) for key in items.values]
        self.problems += items.problems
        return [number for number in numbers if number is not None]

    def dictionary(self, name: str) -> dict[str, Any] | None:
        """An object with any keys."""
        value = self.values.get(name)
        if value is None or isinstance(value, dict):
            return value
        self.reject("dict_type", name, "Input should be a valid dictionary", value)
        return None

    def strings(self, name: str, most: int | None = None) -> list[str]:
        """A string or a list of at most `most` strings, as a list."""
        value = self.values.get(name)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        too_long = most is not None and isinstance(value, list) and len(value) > most
        if isinstance(value, list) and not too_long and all(isinstance(item, str) for item in value):
            return value
        self.reject("string_type", name, "Input should be a valid string", value)
        if too_long:
            # The items of a list that is too long are not looked at.
            message = f"List should have at most {most} items after validation, not {len(value)}"
            ctx = {"field_type": "List", "max_length": most, "actual_length": len(value)}
            self.reject("too_long", name, message, value, ctx)
        else:
            self.each_string(name)
        return []

    def each_string(self, name: str) -> None:
        """Note what is wrong with a list of strings."""
        value = self.values.get(name)
        if not isinstance(value, list):
            self.reject("list_type", name, "Input should be a valid list", value)
            return
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.reject("string_type", f"{name}.{index}", "Input should be a valid string", item)

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """One of the words `allowed`."""
        value = self.values.get(name, default)
        if value in allowed:
            return str(value)
        *most, last = map(repr, allowed)
        expected = f"{', '.join(most)} or {last}"
        self.reject("literal_error", name, f"Input should be {expected}", value, {"expected": expected})
        return default
