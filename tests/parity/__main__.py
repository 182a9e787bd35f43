"""Play the cases to the real server and to the mock, and compare.

`python -m parity vllm` and `python -m parity sglang`; `nox -s parity` and `nox -s parity_sglang` run these.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from judges.host import StartError
from parity import cases, known, recorder, report, servers
from parity.cases import Case
from parity.compare import differences
from parity.known import Outcome
from parity.products import PRODUCTS, Product
from parity.steps import Seen, Stuck


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m parity", description=__doc__)
    parser.add_argument("product", choices=PRODUCTS, help="the real server")
    parser.add_argument("--python", required=True, help="the Python that the real server is installed for")
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and the logs")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases with such a name")
    parser.add_argument("--record", action="store_true", help="rewrite the recordings")
    parser.add_argument("--short", action="store_true", help="one flavour, the most important cases: for CI")
    return parser.parse_args()


def chosen(product: Product, options: argparse.Namespace) -> list[Case]:
    """The cases that the command line asks for."""
    return [
        case
        for case in cases.load(product.cases, product.flavours)
        if re.search(options.only, case.name) and (not options.short or (case.must and case.flavour == product.short))
    ]


def play(product: Product, url: str, played: Sequence[Case], who: str) -> dict[str, Seen]:
    """What each case sees at a server."""
    seen: dict[str, Seen] = {}
    start = time.monotonic()
    for number, case in enumerate(played, 1):
        try:
            seen[case.name] = recorder.record(product, url, case)
        except Stuck as error:
            seen[case.name] = {"stuck": str(error)}
        if number % 50 == 0 or number == len(played):
            _say(f"  {who}: {number} of {len(played)} cases, {time.monotonic() - start:.0f} s")
    return seen


def rounds(product: Product, played: Sequence[Case]) -> Iterator[tuple[str, list[Case]]]:
    """The cases that one server is played, with its flavour; where they are its end, each has its own."""
    for name, flavour in product.flavours.items():
        of_flavour = [case for case in played if case.flavour == name]
        if flavour.dies:
            yield from ((name, [case]) for case in of_flavour)
        elif of_flavour:
            yield name, of_flavour


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
    product: Product = PRODUCTS[options.product]
    played = chosen(product, options)
    if not played:
        _say(f"no case is named like {options.only}")
        return 1
    model = servers.make_model(product, options.python, options.work)
    real: dict[str, Seen] = {}
    mock: dict[str, Seen] = {}
    for name, of_flavour in rounds(product, played):
        flavour, log = product.flavours[name], options.work / f"real-{name}.log"
        _say(f"{name}: {len(of_flavour)} cases; the real server's log is {log}")
        with ExitStack() as running:
            server = running.enter_context(servers.real(product, flavour, options.python, model, log))
            # It takes a minute or more to start; the mock is done in that time.
            mock_url = running.enter_context(servers.mock(product, flavour)).base_url
            mock |= play(product, mock_url, of_flavour, "mock")
            server.wait_until_ready(_say)
            real |= play(product, server.url, of_flavour, "real")
    there_are = cases.load(product.cases, product.flavours)
    if options.record:
        recorder.save(there_are, real, product.recordings)
    drifted = compared(played, recorder.load(product.recordings), real, {})
    outcomes = compared(played, real, mock, known.load(product.name))
    if len(played) == len(there_are):
        report.write(product, report.table(product, played, outcomes))
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
    except StartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
