"""The field `prompt` of a completions request, by type: a text or tokens, or a list of either."""

from __future__ import annotations

from typing import Any, TypeAlias

from mock_server.requests.fields import Fields

RawPrompt: TypeAlias = str | list[int]


def read_prompts(fields: Fields) -> list[RawPrompt]:
    """The prompts, one or several. What is wrong is noted in `fields`, as a union of four types says it."""
    given = fields.values.get("prompt")
    if given is None:
        return []
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and all(isinstance(item, str) for item in given):
        return [*given]
    tokens, tokens_problems = _tokens(fields, "prompt", given)
    if not tokens_problems.problems:
        return [tokens]
    lists, lists_problems = _lists(fields, given)
    if not lists_problems.problems:
        return [*lists]
    texts = Fields(fields.values, fields.place)
    texts.reject("string_type", "prompt", "Input should be a valid string", given)
    texts.each_string("prompt")
    for complaints in (tokens_problems, lists_problems, texts):
        fields.problems += complaints.problems
    return []


def _tokens(fields: Fields, name: str, given: Any) -> tuple[list[int], Fields]:
    read = Fields({name: given}, fields.place)
    if isinstance(given, list) and all(type(item) is int and item >= 0 for item in given):
        return given, read
    if not isinstance(given, list):
        read.reject("list_type", name, "Input should be a valid list", given)
        return [], read
    numbers = []
    for index, item in enumerate(given):
        place = f"{name}.{index}"
        one = Fields({place: item}, fields.place)
        number = one.integer(place)
        if item is None:
            one.reject("int_type", place, "Input should be a valid integer", item)
        elif number is not None and number < 0:
            one.reject("greater_than_equal", place, "Input should be greater than or equal to 0", item, {"ge": 0})
        read.problems += one.problems
        numbers.append(number or 0)
    return numbers, read


def _lists(fields: Fields, given: Any) -> tuple[list[list[int]], Fields]:
    read = Fields(fields.values, fields.place)
    if not isinstance(given, list):
        read.reject("list_type", "prompt", "Input should be a valid list", given)
        return [], read
    lists = []
    for index, item in enumerate(given):
        tokens, problems = _tokens(fields, f"prompt.{index}", item)
        read.problems += problems.problems
        lists.append(tokens)
    return lists, read
