"""Rules of the ledger for which no machine of Hypothesis stands."""

from __future__ import annotations

import pytest

from genrm.offload import ledger
from genrm.offload.holders import Holder
from genrm.offload.ledger import Call, Duty, Ledger, Phase, Policy, State

WAKER = Holder.here()
OTHER = WAKER.model_copy(update={"serial": "other"})
START = 1e9


@pytest.fixture(autouse=True)
def _grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "GRACE_SECONDS", 1.0)


@pytest.fixture
def woken() -> Ledger:
    """A ledger without linger, just after a wake."""
    made = Ledger(Policy(linger=0.0), State(phase=Phase.ASLEEP))
    assert made.apply(Call("acquire", WAKER), START).duty is Duty.WAKE
    made.apply(Call("done", WAKER, (Phase.AWAKE,)), START + 10)
    return made


def test_nobody_puts_it_to_sleep_before_who_woke_it_has_come(woken: Ledger) -> None:
    assert woken.apply(Call("look", OTHER), START + 10.5).duty is Duty.NONE
    assert woken.apply(Call("acquire", WAKER), START + 10.6).granted
    assert woken.apply(Call("release", WAKER), START + 10.7).duty is Duty.SLEEP


def test_and_nobody_waits_for_him_for_ever(woken: Ledger) -> None:
    assert woken.apply(Call("look", OTHER), START + 11).duty is Duty.SLEEP


def test_nor_at_all_where_the_batch_is_over(woken: Ledger) -> None:
    woken.state.due = True
    assert woken.apply(Call("look", OTHER), START + 10.5).duty is Duty.SLEEP
