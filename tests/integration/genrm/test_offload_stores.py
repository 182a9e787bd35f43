"""The ledger's stores between real processes: a file, and an actor of a real Ray cluster where ray is installed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from genrm.errors import OffloadError
from genrm.offload.holders import Holder
from genrm.offload.ledger import Answer, Call, Phase, Policy
from genrm.offload.stores import FileStore, RayStore, Store, open_store
from offload_support import eventually

POLICY = Policy(linger=3600, batch_size=10**9)
ME = Holder.here()
WAKE = [Call("need", ME), Call("done", ME, (Phase.AWAKE,))]
PATIENCE = 120.0

USER = """
    import asyncio, os, sys
    from genrm.offload.holders import Holder
    from genrm.offload.ledger import Call, Policy
    from genrm.offload.stores import open_store
    kind, folder, name, times = sys.argv[1:5]
    if kind == "ray":
        import ray
        ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="error")
    async def main():
        store, me = open_store(kind, [name], folder, Policy(linger=3600, batch_size=10**9)), Holder.here()
        print("ready", flush=True)
        for _ in range(int(times)):
            await store.apply([Call("acquire", me), Call("scored", me)])
        print("done", flush=True)
        await store.aclose()
    asyncio.run(main())
"""


@dataclass
class Place:
    """Where a kind of ledger is kept, for this process and for others."""

    kind: str
    folder: Path
    name: str
    environment: dict[str, str]

    def open(self, name: str = "") -> Store:
        return open_store(self.kind, [name or self.name], str(self.folder), POLICY)

    def start(self, times: int) -> subprocess.Popen[str]:
        """A process that takes so many leases and scores as many samples."""
        arguments = [self.kind, str(self.folder), self.name, str(times)]
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(USER), *arguments],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Ray cluster of this machine alone; its address."""
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    import ray

    context = ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(params=["file", pytest.param("ray", marks=pytest.mark.filterwarnings("ignore"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    environment = {"RAY_ADDRESS": request.getfixturevalue("cluster")} if request.param == "ray" else {}
    return Place(request.param, tmp_path, f"http://{uuid.uuid4().hex}", environment)


def ran(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=PATIENCE)
    return process.returncode


async def look(store: Store) -> Answer:
    return (await store.apply([Call("look", ME)]))[0]


async def test_stores_of_the_same_judge_meet_and_others_do_not(place: Place) -> None:
    one, two, other = place.open(), place.open(), place.open("http://elsewhere")
    await one.apply([*WAKE, Call("acquire", ME)])
    assert ((await look(two)).leases, (await look(two)).wakes) == (1, 1)
    assert (await look(other)).leases == 0
    assert (await two.read()).leases == 1
    assert (await place.open("http://nobody").read()).leases == 0
    for store in (one, two, other):
        await store.aclose()


async def test_calls_go_in_their_order_and_together(place: Place) -> None:
    store = place.open()
    calls = [*WAKE, *([Call("acquire", ME)] * 3), Call("release", ME), Call("look", ME)]
    assert [answer.leases for answer in await store.apply(calls)] == [0, 0, 1, 2, 3, 2, 2]
    await store.aclose()


async def test_processes_that_hammer_it_lose_no_call(place: Place) -> None:
    store = place.open()
    await store.apply(WAKE)
    users, times = (6, 150) if place.kind == "file" else (2, 50)
    processes = [place.start(times) for _ in range(users)]
    codes = await asyncio.gather(*(asyncio.to_thread(ran, process) for process in processes))
    assert codes == [0] * users
    assert (await look(store)).leases == users * times
    await store.aclose()


async def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_ledger(place: Place) -> None:
    """At any moment of it: whoever comes next goes on, and a whole number of its calls has been made."""
    store = place.open()
    await store.apply(WAKE)
    for _ in range(4 if place.kind == "file" else 1):
        before = (await look(store)).leases
        with place.start(10**6) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            while (await look(store)).leases < before + 20:
                await asyncio.sleep(0)
            process.send_signal(signal.SIGKILL)
        after = (await look(store)).leases
        assert after >= before + 20
    await store.apply([Call("release", ME)])
    await store.aclose()


async def test_what_is_lost_comes_back_with_the_signs_of_life(place: Place) -> None:
    one, two = place.open(), place.open()
    await one.apply([*WAKE, *([Call("acquire", ME)] * 3)])
    await lose(one)
    assert (await two.apply([Call("beat", ME, (3,))]))[0].leases == 3
    assert (await look(one)).leases == 3
    for store in (one, two):
        await store.aclose()


async def lose(store: Store) -> None:
    if isinstance(store, FileStore):
        store.path.unlink()
        return
    import ray

    assert isinstance(store, RayStore)
    ray.kill(store._actor)


@pytest.mark.filterwarnings("ignore")
class TestRay:
    async def test_the_actor_dies_and_ray_starts_it_again(self, cluster: str, tmp_path: Path) -> None:
        import ray

        place = Place("ray", tmp_path, f"http://{uuid.uuid4().hex}", {})
        store = place.open()
        await store.apply([*WAKE, Call("acquire", ME)])
        assert isinstance(store, RayStore)
        ray.kill(store._actor, no_restart=False)
        for _ in range(3):
            answer = (await store.apply([Call("beat", ME, (1,))]))[0]
        assert answer.leases == 1
        await store.aclose()

    async def test_the_policy_is_that_of_who_calls(self, cluster: str) -> None:
        """A named actor outlives a training run; the next one may have another batch size."""
        name = f"http://{uuid.uuid4().hex}"
        first, second = (open_store("ray", [name], "", Policy(linger=3600, batch_size=size)) for size in (1000, 1))
        assert (await first.apply([Call("scored", ME)]))[0].ticket == 0
        assert (await second.apply([Call("scored", ME)]))[0].ticket == 1
        for store in (first, second):
            await store.aclose()

    def test_auto_takes_it_where_this_process_is_connected(self, cluster: str, tmp_path: Path) -> None:
        assert isinstance(open_store("auto", ["http://a"], str(tmp_path), POLICY), RayStore)


NOT_CONNECTED = """
    import asyncio, sys
    from genrm.errors import OffloadError
    from genrm.offload.holders import Holder
    from genrm.offload.ledger import Call, Policy
    from genrm.offload.stores import open_store
    for method, arguments in (("apply", [[Call("look", Holder.here())]]), ("read", [])):
        try:
            asyncio.run(getattr(open_store("ray", ["http://a"], "", Policy(1.0)), method)(*arguments))
        except OffloadError as error:
            print(error)
    print("ray" in sys.modules and sys.modules["ray"].is_initialized())
"""


def test_without_a_cluster_it_is_said_and_none_is_started() -> None:
    """Also where ray is not installed at all."""
    code = textwrap.dedent(NOT_CONNECTED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.count("GENRM_OFFLOAD_LEDGER") == 2
    assert done.stdout.endswith("False\n")


async def test_a_ledger_that_somebody_holds_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    import sqlite3

    store = FileStore(tmp_path / "a", POLICY)
    await store.apply(WAKE)
    holder = sqlite3.connect(tmp_path / "a", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    waiting = asyncio.create_task(store.apply([Call("acquire", ME)]))
    turns = 0

    def turned() -> bool:
        nonlocal turns
        turns += 1
        return turns > 20

    await eventually(turned)
    assert not waiting.done()
    holder.execute("ROLLBACK")
    holder.close()
    assert (await waiting)[0].granted
    await store.aclose()


async def test_a_ledger_that_somebody_holds_for_ever_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.setattr("genrm.offload.stores._BUSY_SECONDS", 0.05)
    store = FileStore(tmp_path / "a", POLICY)
    await store.apply(WAKE)
    holder = sqlite3.connect(tmp_path / "a", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OffloadError, match="locked"):
        await store.apply([Call("acquire", ME)])
    holder.execute("ROLLBACK")
    holder.close()
    assert (await store.apply([Call("acquire", ME)]))[0].granted
    await store.aclose()
