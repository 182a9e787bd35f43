"""The mock does what was recorded from the real servers; `nox -s parity` and its like compare it with these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from parity import cases, known, recorder, servers
from parity.cases import Case
from parity.compare import differences
from parity.known import Outcome
from parity.products import PRODUCTS, Product

PATIENCE = 20.0
CASES = [
    pytest.param(product, case, id=f"{product.name}-{case.name}")
    for product in PRODUCTS.values()
    for case in cases.load(product.cases, product.flavours)
]
RECORDINGS = {name: recorder.load(product.recordings) for name, product in PRODUCTS.items()}
REASONS = {name: known.load(name) for name in PRODUCTS}

Address: TypeAlias = Callable[[Product, str], str]


@pytest.fixture(scope="session")
def shared() -> Iterator[Address]:
    """Where the mock of a flavour listens; started when it is first asked for."""
    started: dict[tuple[str, str], str] = {}
    with ExitStack() as running:

        def of(product: Product, flavour: str) -> str:
            key = product.name, flavour
            if key not in started:
                started[key] = running.enter_context(servers.mock(product, product.flavours[flavour])).base_url
            return started[key]

        yield of


@pytest.fixture
def address(shared: Address) -> Iterator[Address]:
    """Where the mock listens that a case is played to: a new one if the case is its end."""
    with ExitStack() as running:

        def of(product: Product, flavour: str) -> str:
            if not product.flavours[flavour].dies:
                return shared(product, flavour)
            return running.enter_context(servers.mock(product, product.flavours[flavour])).base_url

        yield of


@pytest.mark.parametrize(("product", "case"), CASES)
def test_the_mock_does_what_was_recorded(product: Product, case: Case, address: Address) -> None:
    seen = recorder.record(product, address(product, case.flavour), case, PATIENCE)
    recorded = RECORDINGS[product.name].get(case.name, {})
    outcome = Outcome(case.name, list(differences(recorded, seen)), REASONS[product.name].get(case.name))
    assert not outcome.complaint, outcome.complaint


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_every_recording_and_every_excuse_has_its_case(product: Product) -> None:
    names = {case.name for case in cases.load(product.cases, product.flavours)}
    assert RECORDINGS[product.name].keys() == names
    assert REASONS[product.name].keys() <= names
