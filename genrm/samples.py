"""What verl hands over -> a sample.

verl's values come in numpy dress (np.str_, np.int64, arrays of messages), and its extra_info is shared and changed in
place by verl: it is read here and never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from genrm.errors import SampleError

PROBLEM_KEYS = ("question", "problem", "prompt")
VALIDATION_SPLITS = frozenset({"test", "val", "valid", "validation"})
# They print as nothing, so a solution made of them is as empty as one of blanks.
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


@dataclass(frozen=True)
class Sample:
    """One rollout to be scored.

    Attributes:
        solution: what the policy wrote; in multi-turn runs with the tool and user turns in it.
        ground_truth: as the data set has it; None where it has none.
        data_source: the data set's name, "" where none was given.
        extra_info: the data set's further columns, read only.
    """

    solution: str
    ground_truth: Any = None
    data_source: str = ""
    extra_info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_verl(cls, data_source: Any, solution_str: Any, ground_truth: Any, extra_info: Any) -> Sample:
        """A sample from the arguments of verl's reward managers.

        Raises:
            SampleError: solution_str is no text, or extra_info is no mapping.
        """
        if not isinstance(solution_str, str):
            raise SampleError(f"solution_str must be a str, but is {type(solution_str).__name__}")
        if extra_info is None:
            extra_info = {}
        if not isinstance(extra_info, Mapping):
            raise SampleError(f"extra_info must be a dict, but is {type(extra_info).__name__}")
        return cls(str(solution_str), ground_truth, "" if data_source is None else str(data_source), extra_info)

    @cached_property
    def problem(self) -> str:
        """The problem's text: the first of extra_info's question, problem, prompt.

        Raises:
            SampleError: none of them is there; the message names the keys that are.
        """
        for key in PROBLEM_KEYS:
            text = _text(self.extra_info.get(key))
            if text.strip():
                return text
        there = ", ".join(map(str, self.extra_info)) or "no keys at all"
        raise SampleError(
            f"extra_info holds no problem: looked for {', '.join(PROBLEM_KEYS)}, found {there} "
            f"(data_source {self.data_source!r}); put the problem's text into extra_info['question'] of the data set"
        )

    @property
    def has_truth(self) -> bool:
        """Whether the data set has a ground truth, in whatever form."""
        return not (self.ground_truth is None or (isinstance(self.ground_truth, str) and not self.ground_truth.strip()))

    @property
    def answers(self) -> tuple[str, ...]:
        """The ground truth as texts, each of them right; none where there is no text in it."""
        truth = _plain(self.ground_truth)
        several = truth if _is_list(truth) and not any(isinstance(item, Mapping) for item in truth) else [truth]
        return tuple(text for text in (_text(one).strip() for one in several) if text)

    @property
    def reference(self) -> str:
        """The ground truth as one text; "" where there is none."""
        return " or ".join(self.answers)

    @property
    def is_validation(self) -> bool:
        """Whether the data set marks it so; verl itself never says whether it trains or validates."""
        return _text(self.extra_info.get("split")).strip().lower() in VALIDATION_SPLITS

    @property
    def is_empty(self) -> bool:
        """Whether the solution holds nothing to judge."""
        return not self.solution.translate(_INVISIBLE).strip()


def _text(value: Any) -> str:
    """A text out of a str, a number, chat messages (the users' turns) or several texts ("a or b")."""
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return _text(value.get("content", value.get("ground_truth")))
    if _is_list(value):
        messages = [turn for turn in value if isinstance(turn, Mapping)]
        if messages:
            return "\n\n".join(_text(turn) for turn in messages if turn.get("role", "user") == "user")
        return " or ".join(_text(item) for item in value)
    return str(value)


def _plain(value: Any) -> Any:
    """numpy's scalars and arrays as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
