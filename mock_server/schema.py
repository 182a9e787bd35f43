"""What the parts of a scenario's schema are made of: strict models, shares, and the matching of texts."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


class Strict(BaseModel):
    """A part of a scenario. Unknown fields are mistakes, not extras."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextMatch(Strict):
    """What a text must contain: a substring (also written as a bare string) or a match of a regular expression.

    Both are compared with the canonical text (no mark, white space collapsed).
    """

    contains: str | None = None
    regex: Annotated[str, AfterValidator(_pattern)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_string(cls, value: Any) -> Any:
        return {"contains": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> TextMatch:
        if (self.contains is None) == (self.regex is None):
            raise ValueError("give one of: contains, regex")
        return self
