"""Functions of one's own, a parser or a reward: whatever they do, what comes out is a plain number, or None.

verl takes what a reward function returns as it is: a NaN makes its whole group NaN in silence, an array makes a ragged
column, and an exception drops the sample (V1) or ends the run (V0).
"""

from __future__ import annotations

import inspect
import logging
import math
import traceback
from collections.abc import Callable
from typing import Any

from genrm.errors import SettingsError
from genrm.tally import Tally

logger = logging.getLogger(__name__)


class OwnFunction:
    """Calls a function of one's own; gives a bool or a finite float, and None for all else, or where it fails.

    What goes wrong is logged by the function, the error and its place, but not by the error's message:
    `float("...")` repeats what the judge wrote.

    Args:
        function: a plain function.
        may_be_none: None is an answer, too, and not logged.

    Raises:
        SettingsError: it would have to be awaited.
    """

    def __init__(self, function: Callable[..., Any], *, may_be_none: bool = False) -> None:
        self._function = function
        self._name = getattr(function, "__qualname__", type(function).__qualname__)
        self._may_be_none = may_be_none
        self._tally = Tally()
        if any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
            raise SettingsError(f"{self._name} is async; parser and reward must be plain functions, and quick ones")

    def __call__(self, *arguments: Any) -> float | None:
        try:
            value = self._function(*arguments)
            return None if value is None and self._may_be_none else _plain(value)
        except Exception as error:  # of a reply that nobody thought of; a run must not end with it
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{self._name} failed: {type(error).__name__} at {place.filename}:{place.lineno}"
            if count := self._tally.add(what):
                logger.error("%s, %d so far; it counts as no number", what, count)
            logger.debug("%s", what, exc_info=True)
            return None


def _plain(value: Any) -> float:
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes)):
        raise TypeError("a text is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number
