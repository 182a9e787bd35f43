"""The tables of docs/parity.md: what was compared, and how it came out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from parity.cases import Case
from parity.known import Outcome
from parity.products import Product

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"


def table(product: Product, cases: Sequence[Case], outcomes: Iterable[Outcome]) -> str:
    """A row for each case file, then each difference with its reason."""
    by_case = {outcome.case: outcome for outcome in outcomes}
    lines = [
        f"Real {product.title} {product.version} on CPU and the mock, the same cases played to both:",
        "",
        "| cases | server | played | equal | different |",
        "|---|---|---:|---:|---:|",
    ]
    total = [0, 0]
    for file, group in groupby(cases, lambda case: case.file):
        played = list(group)
        different = sum(bool(by_case[case.name].differences) for case in played)
        total = [total[0] + len(played), total[1] + different]
        link = f"[{file}](../tests/parity/cases/{product.name}/{file}.yaml)"
        lines.append(f"| {link} | {played[0].flavour} | {len(played)} | {len(played) - different} | {different} |")
    lines += [f"| **all** | | **{total[0]}** | **{total[0] - total[1]}** | **{total[1]}** |", ""]
    differing = [outcome for outcome in by_case.values() if outcome.differences]
    if differing:
        lines += ["| differs | why |", "|---|---|"]
        lines += [f"| `{outcome.case}` | {outcome.reason or '**not known**'} |" for outcome in differing]
    else:
        lines.append("Nothing differs.")
    return "\n".join(lines)


def write(product: Product, text: str, page: Path = PAGE) -> None:
    """Put the table between the product's marks in the page."""
    begin, end = f"<!-- begin {product.name}: written by the session -->", f"<!-- end {product.name} -->"
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
