"""`python -m parity`: play the cases to the real server and to the mock, and compare. `nox -s parity` runs this."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from parity import cases, known, recorder, report, servers
from parity.cases import FLAVOURS, Case
from parity.compare import differences
from parity.known import Outcome
from parity.steps import Seen, Stuck


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="nox -s parity --", description=__doc__)
    parser.add_argument("--python", required=True, help="the Python that the real vLLM is installed for")
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and the logs")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases with such a name")
    parser.add_argument("--record", action="store_true", help="rewrite the recordings")
    parser.add_argument("--short", action="store_true", help="one flavour, the most important cases: for CI")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases that the command line asks for."""
    return [
        case
        for case in cases.load()
        if re.search(options.only, case.name) and (not options.short or (case.must and case.flavour == "dev"))
    ]


def play(url: str, played: Sequence[Case], who: str) -> dict[str, Seen]:
    """What each case sees at a server."""
    seen: dict[str, Seen] = {}
    start = time.monotonic()
    for number, case in enumerate(played, 1):
        try:
            seen[case.name] = recorder.record(url, case)
        except Stuck as error:
            seen[case.name] = {"stuck": str(error)}
        if number % 50 == 0 or number == len(played):
            _say(f"  {who}: {number} of {len(played)} cases, {time.monotonic() - start:.0f} s")
    return seen


def compared(
    played: Sequence[Case], expected: dict[str, Seen], actual: dict[str, Seen], reasons: dict[str, str]
) -> list[Outcome]:
    """How each case came out."""
    nothing: Seen = {}
    return [
        Outcome(
            case.name,
            list(differences(expected.get(case.name, nothing), actual[case.name])),
            reasons.get(case.name),
        )
        for case in played
    ]


def main() -> int:
    """Play, compare, report; 1 if anything differs that is not known to."""
    options = arguments()
    played = chosen(options)
    if not played:
        _say(f"no case is named like {options.only}")
        return 1
    model = servers.make_model(options.python, options.work)
    real: dict[str, Seen] = {}
    mock: dict[str, Seen] = {}
    for flavour in FLAVOURS:
        of_flavour = [case for case in played if case.flavour == flavour]
        if not of_flavour:
            continue
        log = options.work / f"real-{flavour}.log"
        _say(f"{flavour}: {len(of_flavour)} cases; the real server's log is {log}")
        with ExitStack() as running:
            server = running.enter_context(servers.real(options.python, flavour, model, log))
            # It takes a minute or more to start; the mock is done in that time.
            mock |= play(running.enter_context(servers.mock(flavour)).base_url, of_flavour, "mock")
            server.wait_until_ready(_say)
            real |= play(server.url, of_flavour, "real")
    if options.record:
        recorder.save(cases.load(), real)
    drifted = compared(played, recorder.load(), real, {})
    outcomes = compared(played, real, mock, known.load())
    if len(played) == len(cases.load()):
        report.write(report.table(played, outcomes))
    complaints = _complaints("the real server is not as it was recorded (--record rewrites that)", drifted)
    complaints += _complaints("the mock is not like the real server", outcomes)
    different = sum(bool(outcome.differences) for outcome in outcomes)
    _say(f"{len(played)} cases: {len(played) - different} equal, {different} different, {complaints} to be explained")
    return 1 if complaints else 0


def _complaints(title: str, outcomes: Sequence[Outcome]) -> int:
    found = [outcome.complaint for outcome in outcomes if outcome.complaint]
    for complaint in found:
        _say(f"{title}: {complaint}")
    return len(found)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    # However this ends, the real server ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except servers.StartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
