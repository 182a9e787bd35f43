"""What of a drill's report is wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chaos.drill import Report

COMPLETIONS = "/v1/chat/completions"


def faults_of(report: Report) -> list[str]:
    """Every promise that was broken, in words; empty for a drill that was passed."""
    if report.hang:
        return [f"it hangs: {report.hang}"]
    return [
        *_of_rewards(report),
        *_of_requests(report),
        *(f"batch {number}: the judge was not asleep when the last reward was there" for number in report.late),
        *(f"not asleep at the end: {final}" for final in report.final if not final.get("asleep")),
        *(f"a worker ended with code {code}" for code in report.exit_codes if code),
    ]


def _of_rewards(report: Report) -> list[str]:
    plan = report.plan
    expected = {
        sample["id"]: sample["verdict"]
        for batch in range(plan.batches)
        for sample in plan.samples(batch, plan.batch_size)
    }
    faults = []
    rewards: Counter[str] = Counter()
    for outcome in report.outcomes:
        name = outcome["id"]
        rewards[name] += 1
        if "error" in outcome:
            faults.append(f"sample {name}: {outcome['error']}")
        elif outcome["record"]["genrm_verdict"] != expected[name] and expected[name] is not None:
            faults.append(f"sample {name}: {outcome['record']}, and the verdict is {expected[name]}")
    faults += [f"sample {name} has no reward" for name in expected if not rewards[name]]
    faults += [f"sample {name} has {count} rewards" for name, count in rewards.items() if count > 1]
    return faults


def _of_requests(report: Report) -> list[str]:
    faults = []
    for entry in report.journal:
        state = entry["state"]
        awake = state["scheduling"] == "run" and not state["asleep"] and not state["dead"]
        if entry["path"] == COMPLETIONS and not awake:
            faults.append(f"request {entry['number']} came while the judge was {state}")
        if entry["path"] in ("/sleep", "/release_memory_occupation") and (state["running"] or state["waiting"]):
            faults.append(f"{entry['path']} {entry['number']} came with requests in flight: {state}")
        if "error" in entry["finish_reasons"]:
            faults.append(f"request {entry['number']} died with the engine: {state}")
    judged = Counter(_problem(entry) for entry in report.journal if entry["finish_reasons"] == ["stop"])
    problems = {
        sample["problem"]: sample["id"]
        for batch in range(report.plan.batches)
        for sample in report.plan.samples(batch, report.plan.batch_size)
    }
    for problem, name in problems.items():
        if judged[problem] > 1 and name not in report.rescored:
            faults.append(f"sample {name} was judged {judged[problem]} times")
    return faults


def _problem(entry: dict[str, Any]) -> str:
    """The problem that a request is about: the line after its heading in our prompt."""
    text = entry["body"]["messages"][-1]["content"] if entry["body"] else ""
    return text.partition("[Math Problem]")[2].strip().partition("\n")[0].strip()
