"""The mock does what was recorded from the real vLLM. `nox -s parity` compares it with the real one itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from parity import cases, known, recorder, servers
from parity.cases import Case, Flavour
from parity.compare import differences
from parity.known import Outcome

PATIENCE = 20.0
CASES = cases.load()
RECORDINGS = recorder.load()
REASONS = known.load()

Address: TypeAlias = Callable[[Flavour], str]


@pytest.fixture(scope="session")
def address() -> Iterator[Address]:
    """Where the mock of a flavour listens; started when it is first asked for."""
    started: dict[Flavour, str] = {}
    with ExitStack() as running:

        def of(flavour: Flavour) -> str:
            if flavour not in started:
                started[flavour] = running.enter_context(servers.mock(flavour)).base_url
            return started[flavour]

        yield of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_mock_does_what_was_recorded(case: Case, address: Address) -> None:
    seen = recorder.record(address(case.flavour), case, PATIENCE)
    outcome = Outcome(case.name, list(differences(RECORDINGS.get(case.name, {}), seen)), REASONS.get(case.name))
    assert not outcome.complaint, outcome.complaint


def test_every_recording_and_every_excuse_has_its_case() -> None:
    names = {case.name for case in CASES}
    assert RECORDINGS.keys() == names
    assert REASONS.keys() <= names
