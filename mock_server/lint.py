"""What `genrm-mock validate` has to say about a scenario: mistakes, and what can never match.

Only what is certain is told: a substring that contains an earlier rule's substring is shadowed by it; whether one
regular expression covers another is not looked into, unless they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mock_server.faults.plan import COMPLETIONS
from mock_server.faults.schema import Fault, FaultMatch
from mock_server.judge.answers import Judge
from mock_server.prompts import canonical
from mock_server.scenario.files import Loc, Locate, ScenarioError, read_jsonl, read_scenario
from mock_server.scenario.script import Rule, Scenario
from mock_server.schema import TextMatch

Finding = tuple[Loc, str]


def findings(path: Path) -> list[str]:
    """Everything wrong with a scenario file, one `file:line: field: what` each; empty when there is nothing."""
    try:
        scenario, locate = read_scenario(path)
        Judge(scenario)
    except ScenarioError as error:
        return str(error).splitlines()
    return [_placed(path, locate, loc, what) for loc, what in (*_of_oracles(scenario, locate), *_of_faults(scenario))]


def _placed(path: Path, locate: Locate, loc: Loc, what: str) -> str:
    line, field = locate(loc)
    return f"{path}:{line}: {'.'.join(map(str, field))}: {what}"


# --- oracles ---


def _of_oracles(scenario: Scenario, locate: Locate) -> Iterator[Finding]:
    mark = scenario.prompt.mark
    decided: Loc | None = None
    rules: list[tuple[Loc, Rule]] = []
    verdicts: dict[tuple[str, str], tuple[str, bool]] = {}
    for number, entry in enumerate(scenario.oracle):
        loc: Loc = ("oracle", number, next(iter(entry.model_fields_set)))
        if decided:
            yield loc, f"is never asked: {_name(locate, decided)} has decided everything"
            continue
        for at, rule in enumerate(entry.rules or []):
            place = (*loc, at)
            yield from _shadowed_rule(place, rule, rules, locate, mark)
            rules.append((place, rule))
        for at, (problem, solution, verdict, where) in enumerate(_pairs(scenario, number)):
            place = (*loc, at) if entry.pairs else loc
            here = where or _name(locate, place)
            key = (canonical(problem, mark), canonical(solution, mark))
            yield from _contradicted_pair(place, where, verdict, verdicts.get(key))
            verdicts.setdefault(key, (here, verdict))
        if entry.default is not None:
            decided = loc


def _shadowed_rule(
    loc: Loc, rule: Rule, earlier: list[tuple[Loc, Rule]], locate: Locate, mark: str
) -> Iterator[Finding]:
    for place, other in earlier:
        if _covers(other.problem, rule.problem, mark) and _covers(other.solution, rule.solution, mark):
            same = "" if other.verdict == rule.verdict else f", which says {other.verdict}"
            yield loc, f"can never match: {_name(locate, place)} matches all of it first{same}"
            return


def _pairs(scenario: Scenario, number: int) -> Iterator[tuple[str, str, bool, str]]:
    """Problem, solution, verdict, and in a data file the place."""
    entry = scenario.oracle[number]
    for pair in entry.pairs or []:
        yield pair.problem, pair.solution, pair.verdict, ""
    if entry.pairs_file:
        rows = read_jsonl(entry.pairs_file, {"problem": str, "solution": str, "label": (bool, int)})
        for line, row in enumerate(rows, 1):
            yield row["problem"], row["solution"], bool(row["label"]), f"{entry.pairs_file.name}, pair {line}"


def _contradicted_pair(loc: Loc, where: str, verdict: bool, known: tuple[str, bool] | None) -> Iterator[Finding]:
    if known and known[1] != verdict:
        prefix = f"{where}: " if where else ""
        yield loc, f"{prefix}says {verdict}, but {known[0]} says {known[1]} of the same problem and solution"


# --- faults ---


def _of_faults(scenario: Scenario) -> Iterator[Finding]:
    mark = scenario.prompt.mark
    for number, fault in enumerate(scenario.faults):
        loc: Loc = ("faults", number)
        reason = _never_fires(fault) or _taken_before(number, scenario.faults, mark)
        if reason:
            yield loc, f"can never fire: {reason}"
        named = fault.when.nth
        if not reason and fault.times and named and len(set(named)) > fault.times:
            never = sorted(set(named))[fault.times :]
            yield (*loc, "times"), f"calls {', '.join(map(str, never))} of nth are beyond times"


def _never_fires(fault: Fault) -> str:
    match = fault.match
    if fault.when.share == 0:
        return "its share is 0"
    if fault.when.nth == []:
        return "nth is empty"
    if fault.streams_only and match.stream is False:
        return f"{fault.fault.kind} exists for streams only, and it matches none"
    asked = match.path is None or match.path in COMPLETIONS
    if not asked and (match.problem or match.solution):
        return f"no judge's prompt goes to {match.path}"
    if match.path is not None and match.path.startswith("/_mock"):
        return "no fault befalls the control API"
    return ""


def _taken_before(number: int, faults: list[Fault], mark: str) -> str:
    fault = faults[number]
    for earlier, other in enumerate(faults[:number]):
        always = other.when.nth is None and (other.when.share in (None, 1)) and (other.when.every or 1) == 1
        ends = other.fault.latency is None and not other.streams_only and other.times is None
        if always and ends and _covers_fault(other.match, fault.match, mark):
            return f"faults.{earlier} takes every such call first"
    return ""


def _covers_fault(wide: FaultMatch, narrow: FaultMatch, mark: str) -> bool:
    texts = ("problem", "solution", "content")
    if not all(_covers(getattr(wide, name), getattr(narrow, name), mark) for name in texts):
        return False
    paths = wide.path == narrow.path or (wide.path is None and narrow.path in COMPLETIONS)
    return paths and all(
        getattr(wide, name) in (None, getattr(narrow, name)) for name in ("scope", "stream", "running")
    )


# --- both ---


def _covers(wide: TextMatch | None, narrow: TextMatch | None, mark: str) -> bool:
    """Whether every text that `narrow` matches is certain to be matched by `wide`."""
    if wide is None or wide == narrow or wide.contains == "":
        return True
    if narrow is None or wide.contains is None or narrow.contains is None:
        return False
    return canonical(wide.contains, mark) in canonical(narrow.contains, mark)


def _name(locate: Locate, loc: Loc) -> str:
    line, field = locate(loc)
    return f"{'.'.join(map(str, field))} (line {line})"
