"""Who is alive: this process, a child, a dead one, a zombie, one whose pid is used again, one elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from genrm.offload.holders import Holder


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its stdin ends."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        yield it
        it.kill()


def holder_of(pid: int) -> Holder:
    me = Holder.here()
    ours, theirs = psutil.Process().create_time(), psutil.Process(pid).create_time()
    return me.model_copy(update={"pid": pid, "started": me.started + theirs - ours})


def test_this_process_is_alive() -> None:
    assert Holder.here().is_alive() is True


def test_each_loop_is_another_holder_of_the_same_process() -> None:
    one, two = Holder.here(), Holder.here()
    assert (one.host, one.pid, one.started) == (two.host, two.pid, two.started)
    assert one.key != two.key


def test_it_survives_its_way_through_a_ledger() -> None:
    me = Holder.here()
    assert Holder.model_validate_json(me.model_dump_json()) == me


def test_a_child_lives_until_it_is_killed(child: subprocess.Popen[bytes]) -> None:
    holder = holder_of(child.pid)
    assert holder.is_alive() is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert holder.is_alive() is False  # dead, though nobody has looked after it
    child.wait()
    assert holder.is_alive() is False


def test_a_stopped_process_is_alive(child: subprocess.Popen[bytes]) -> None:
    psutil.Process(child.pid).suspend()
    assert holder_of(child.pid).is_alive() is True


def test_a_pid_that_is_used_again_is_another_process() -> None:
    me = Holder.here()
    assert me.model_copy(update={"started": me.started - 60}).is_alive() is False


def test_of_another_host_or_container_nothing_is_known() -> None:
    assert Holder.here().model_copy(update={"host": "elsewhere"}).is_alive() is None


def test_of_a_process_that_may_not_be_looked_at_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: psutil.Process) -> float:
        raise psutil.AccessDenied(self.pid)

    me = Holder.here()
    monkeypatch.setattr(psutil.Process, "create_time", refuse)
    assert me.is_alive() is None


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_clock_that_is_set_makes_nobody_dead(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The system reckons a process's start from the boot, and the boot from the clock as it is now."""
    me = Holder.here()
    started, booted = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _self: started + seconds)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + seconds)
    assert me.is_alive() is True
