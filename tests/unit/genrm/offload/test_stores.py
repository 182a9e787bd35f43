"""The ledger's file: where it is, who meets there, and what is said where it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from genrm.errors import OffloadError
from genrm.offload.holders import Holder
from genrm.offload.ledger import Answer, Call, Phase, Policy, State
from genrm.offload.stores import FileStore, open_store

POLICY = Policy(linger=3600)
ME = Holder.here()
URL = "http://127.0.0.1:30000"
Stores = Callable[[Path], FileStore]


@pytest.fixture
async def file_store() -> AsyncIterator[Stores]:
    """Open stores on a file; all are closed."""
    stores: list[FileStore] = []

    def make(path: Path) -> FileStore:
        stores.append(FileStore(path, POLICY))
        return stores[-1]

    yield make
    for store in stores:
        await store.aclose()


async def acquired(store: FileStore, times: int = 1) -> list[Answer]:
    """Wakes the judge, and takes so many leases."""
    await store.apply([Call("need", ME), Call("done", ME, (Phase.AWAKE,))])
    return await store.apply([Call("acquire", ME)] * times)


async def leases(store: FileStore) -> int:
    return (await store.apply([Call("look", ME)]))[0].leases


async def test_one_file_is_one_ledger(tmp_path: Path, file_store: Stores) -> None:
    one, two = file_store(tmp_path / "a"), file_store(tmp_path / "a")
    assert [answer.leases for answer in await acquired(one, 3)] == [1, 2, 3]
    assert (await leases(two), await leases(file_store(tmp_path / "b"))) == (3, 0)


async def test_it_outlives_its_users(tmp_path: Path, file_store: Stores) -> None:
    store = FileStore(tmp_path / "a", POLICY)
    await acquired(store)
    await store.aclose()
    assert await leases(file_store(tmp_path / "a")) == 1


@pytest.mark.parametrize("folder", ["new", "new/and/deeper"])
async def test_its_folder_is_made_for_its_user_alone(tmp_path: Path, file_store: Stores, folder: str) -> None:
    await acquired(file_store(tmp_path / folder / "a"))
    assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def path_of(store: object) -> Path:
    assert isinstance(store, FileStore)
    return store.path


def test_the_same_urls_meet_in_any_order(tmp_path: Path) -> None:
    def path(*urls: str) -> Path:
        return path_of(open_store("file", urls, str(tmp_path), POLICY))

    assert path(URL, "http://b:1") == path("http://b:1", URL)
    assert path(URL) == path("http://LOCALHOST:30000")
    assert len({path(URL), path("http://b:1"), path(URL, "http://b:1"), path(URL + "1")}) == 4
    assert path(URL).parent == tmp_path


def test_the_folder_is_the_users_whatever_he_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run users without a name, and processes of one user may differ in LOGNAME."""

    def path() -> Path:
        return path_of(open_store("auto", [URL], "", POLICY))

    there = path()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    assert path() == there
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert path() == there


async def refusal(store: FileStore) -> str:
    with pytest.raises(OffloadError) as caught:
        await store.apply([Call("look", ME)])
    assert str(store.path) in str(caught.value)
    assert "GENRM_OFFLOAD_DIR" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 20, b"\0" * 4096])
async def test_a_corrupt_file_is_named_and_its_removal_helps(
    tmp_path: Path, file_store: Stores, content: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    store = file_store(path)
    assert "not a database" in await refusal(store)
    await refusal(store)
    path.unlink()
    assert await leases(store) == 0


@pytest.mark.parametrize("state", ["{", "[]", '{"phase": "drunk"}', "null"])
async def test_a_corrupt_state_is_named(tmp_path: Path, file_store: Stores, state: str) -> None:
    store = file_store(tmp_path / "a")
    await acquired(store)
    with sqlite3.connect(tmp_path / "a") as connection:
        connection.execute("UPDATE ledger SET state = ?", (state,))
    connection.close()
    await refusal(store)
    (tmp_path / "a").unlink()
    assert await leases(store) == 0


async def test_a_folder_that_cannot_be_is_named(tmp_path: Path, file_store: Stores) -> None:
    (tmp_path / "file").write_text("")
    await refusal(file_store(tmp_path / "file" / "a"))
    (tmp_path / "folder").mkdir()
    await refusal(file_store(tmp_path / "folder"))


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, file_store: Stores) -> None:
    tmp_path.chmod(0o500)
    await refusal(file_store(tmp_path / "a"))
    tmp_path.chmod(0o700)


async def test_a_full_disk_is_named_and_nothing_of_the_calls_is_done(tmp_path: Path, file_store: Stores) -> None:
    store = file_store(tmp_path / "a")
    await acquired(store)

    def fill() -> None:  # in the thread of the connection
        assert store._connection
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")

    store._thread.submit(fill).result()
    many = [Call("look", ME.model_copy(update={"serial": f"{number}"})) for number in range(200)]
    with pytest.raises(OffloadError, match="full"):
        await store.apply(many)
    assert await leases(store) == 1
    assert len(await entries(store)) == 1


async def entries(store: FileStore) -> dict[str, object]:
    with sqlite3.connect(store.path) as connection:
        state = State.model_validate_json(connection.execute("SELECT state FROM ledger").fetchone()[0])
    connection.close()
    return dict(state.entries)


async def test_a_file_that_is_removed_while_it_is_used_is_made_anew_for_all(tmp_path: Path, file_store: Stores) -> None:
    one, two = file_store(tmp_path / "a"), file_store(tmp_path / "a")
    await acquired(one)
    assert await leases(two) == 1
    (tmp_path / "a").unlink()
    await one.apply([Call("beat", ME, (1,))])
    assert (await leases(two), await leases(one)) == (1, 1)


async def test_a_file_that_is_replaced_while_it_is_used_is_the_ledger_then(tmp_path: Path, file_store: Stores) -> None:
    store, other = file_store(tmp_path / "a"), FileStore(tmp_path / "b", POLICY)
    await acquired(store, 2)
    await acquired(other, 5)
    await other.aclose()
    os.replace(tmp_path / "b", tmp_path / "a")
    assert await leases(store) == 5


async def test_a_clock_that_is_set_back_holds_nothing_up(
    tmp_path: Path, file_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = FileStore(tmp_path / "a", Policy(linger=5)), time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    await acquired(store)
    await store.apply([Call("release", ME)])
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert (await store.apply([Call("look", ME)]))[0].duty == "none"
    monkeypatch.setattr(time, "time", lambda: now - 3590)
    assert (await store.apply([Call("look", ME)]))[0].duty == "sleep"
    await store.aclose()
