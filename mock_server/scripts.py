"""The scripts in force: a scenario with its judge and its fault plan, one for everybody and perhaps one a scope.

A script is made whole before it takes the place of another, so that a request sees the old one or the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mock_server.faults.plan import CallCounts, FaultPlan
from mock_server.faults.schema import Fault
from mock_server.judge.answers import Judge
from mock_server.prompts import PromptFormat
from mock_server.scenario.files import load_scenario
from mock_server.scenario.script import Scenario

Source = Scenario | dict[str, Any] | str | Path | None


@dataclass(frozen=True)
class Script:
    """A scenario, ready to be acted by, and the counts of calls that its faults go by."""

    name: str
    scenario: Scenario
    judge: Judge
    plan: FaultPlan
    counts: CallCounts

    @classmethod
    def of(cls, source: Source, seed: int, name: str | None = None) -> Script:
        """Raises ScenarioError when the scenario, or a data file of it, is wrong."""
        scenario = load_scenario(source)
        plan = FaultPlan(scenario.faults, seed, PromptFormat(**scenario.prompt.model_dump()))
        return cls(name or _name(source), scenario, Judge(scenario, seed), plan, CallCounts())

    def with_faults(self, faults: Sequence[Fault]) -> Script:
        """The same with another plan. Its counts start at nothing."""
        scenario = self.scenario.model_copy(update={"faults": list(faults)})
        plan = FaultPlan(faults, self.plan.seed, self.plan.form)
        return replace(self, scenario=scenario, plan=plan, counts=CallCounts())


class Scripts:
    """Who acts by which script. The scope "" is everybody without a script of their own."""

    def __init__(self, source: Source, seed: int = 0) -> None:
        self.seed = seed
        self._first = Script.of(source, seed)
        self._default = self._first
        self._scoped: dict[str, Script] = {}

    def of(self, scope: str) -> Script:
        """The script for a request in this scope."""
        return self._scoped.get(scope, self._default) if self._scoped else self._default

    def own(self, scope: str) -> Script | None:
        """The script that was set for this scope itself, if one was."""
        return self._scoped.get(scope) if scope else self._default

    def set(self, scope: str, script: Script) -> None:
        """Put a script in force, for one scope or for everybody ("")."""
        if scope:
            self._scoped[scope] = script
        else:
            self._default = script

    def restore(self, scope: str) -> None:
        """Back to what was in force at the start; a scope goes by what everybody goes by."""
        if scope:
            self._scoped.pop(scope, None)
        else:
            self._default = self._first

    def restore_faults(self, scope: str) -> None:
        """The same for the fault plan alone."""
        origin = self._default if scope else self._first
        if not scope or scope in self._scoped:
            self.set(scope, self.of(scope).with_faults(origin.scenario.faults))

    def clear_counts(self, scope: str | None = None) -> None:
        """Count calls from 1 again: of one scope, or of all (None)."""
        for script in (self._default, *self._scoped.values()):
            script.counts.clear(scope)

    @property
    def scopes(self) -> list[str]:
        """The scopes that have a script of their own."""
        return sorted(self._scoped)


def _name(source: Source) -> str:
    if source is None:
        return "default"
    return str(source) if isinstance(source, str | Path) else "inline"
