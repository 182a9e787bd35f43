"""The schema of a scenario: the script that the mock judge answers by. `scenarios/default.yaml` shows every field.

Here is only what a scenario may say; files.py reads it from YAML and explains mistakes with file and line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from mock_server.faults.schema import Fault
from mock_server.prompts import MARK, PromptFormat
from mock_server.schema import Share, Strict, TextMatch


def _existing_file(value: Path, info: ValidationInfo) -> Path:
    """Relative paths start at the scenario's own folder (given as context), else at the working directory."""
    base = (info.context or {}).get("base", Path())
    path = Path(base) / value
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _none_as_null(value: Any) -> Any:
    return None if value == "none" else value


DataFile = Annotated[Path, AfterValidator(_existing_file)]


class Rule(Strict):
    """If the problem and the solution match, this is the truth. A text that is not named matches anything."""

    verdict: bool
    problem: TextMatch | None = None
    solution: TextMatch | None = None


class Pair(Strict):
    """A solution whose verdict is known."""

    problem: str
    solution: str
    verdict: bool


class OracleEntry(Strict):
    """One way to know whether a solution is right. Exactly one field is given."""

    rules: list[Rule] | None = None
    pairs: list[Pair] | None = None
    pairs_file: DataFile | None = None
    ground_truth_file: DataFile | None = None
    arithmetic: bool | None = None
    default: Annotated[bool | None, BeforeValidator(_none_as_null)] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> OracleEntry:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"give exactly one of: {', '.join(type(self).model_fields)}")
        return self


class Errors(Strict):
    """How often the judge is wrong about a solution that an oracle knows."""

    false_true: Share = 0.0
    """Share of the wrong solutions that are judged True."""
    false_false: Share = 0.0
    """Share of the right solutions that are judged False."""


class Shapes(Strict):
    """How often a reply has no usable verdict. The rest are well-formed."""

    no_box: Share = 0.0
    two_boxes: Share = 0.0
    truncated: Share = 0.0

    @model_validator(mode="after")
    def _sum(self) -> Shapes:
        total = self.no_box + self.two_boxes + self.truncated
        # Shares such as 0.1 + 0.2 + 0.7 add up to a little more than 1 in binary.
        if total > 1 + 1e-9:
            raise ValueError(f"the shares must not add up to more than 1 (they add up to {total:g})")
        return self


class Critique(Strict):
    """Length of the critique before the verdict's line, in words. One byte is one token: 80 words are ~450 tokens."""

    min_words: int = Field(30, ge=0, le=20_000)
    max_words: int = Field(80, ge=0, le=20_000)

    @model_validator(mode="after")
    def _ordered(self) -> Critique:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words ({self.min_words}) is more than max_words ({self.max_words})")
        return self


class Garbage(Strict):
    """What a server says whose weights are lost (--gpu-semantics). A bare text is said until the limit."""

    text: str = Field("!", min_length=1)
    finish_reason: Literal["length", "stop"] = "length"
    """length: the text again and again, up to max_tokens; stop: the text once."""

    @model_validator(mode="before")
    @classmethod
    def _bare_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class Prompt(Strict):
    """The headings by which a judge's prompt is recognised, and the mark that clients neutralise text with."""

    problem: str = Field(PromptFormat().problem, min_length=1)
    reference: str = Field(PromptFormat().reference, min_length=1)
    solution: str = Field(PromptFormat().solution, min_length=1)
    end: str = Field(PromptFormat().end, min_length=1)
    mark: str = MARK


class Scenario(Strict):
    """A script for the mock judge."""

    oracle: list[OracleEntry] = Field(default_factory=lambda: [OracleEntry(arithmetic=True), OracleEntry(default=True)])
    errors: Errors = Errors()
    shapes: Shapes = Shapes()
    critique: Critique = Critique()
    faults: list[Fault] = Field(default_factory=list)
    """What goes wrong: the fault plan (faults/schema.py)."""
    prompt: Prompt = Prompt()
    unrecognised: str = "I can only judge solutions to math problems. Please send a problem and a solution."
    """The reply to whatever is not a judge's prompt."""
    garbage: Garbage = Garbage()
    repeatable: bool = True
    """False: unless its temperature is 0 a request gets another answer for each seed, and without a seed each time."""

    @field_validator("oracle", mode="before")
    @classmethod
    def _mapping_as_list(cls, value: Any) -> Any:
        """A mapping of oracles means the same as the list of its entries, in the order written."""
        return [{kind: entry} for kind, entry in value.items()] if isinstance(value, dict) else value
