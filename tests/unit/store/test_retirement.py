"""Databases that are taken out of the way, and who comes for them meanwhile."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from runner.errors import StateLockedError, StoreCorruptError, StoreError
from runner.model.result import Status
from runner.store import database
from runner.store.base import Batch
from runner.store.retirement import DATABASE, retire
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import group

NEVER: list[object] = []


def opened(folder: Path) -> SqliteStore:
    return SqliteStore.open(folder / DATABASE, call_soon_threadsafe=NEVER.append)


def run(folder: Path, status: Status) -> Path:
    """A folder with a store that holds one group of this status, and that nobody uses."""
    store = opened(folder)
    store.accept_group(group(), [])
    store.record(Batch(groups=[replace(group(), status=status)]))
    store.close()
    return folder


def test_a_finished_one_is_moved_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", Status.FAILED)
    (folder / "logs").mkdir()
    assert retire(folder, tmp_path / "b")
    assert not folder.exists()
    store = opened(tmp_path / "b")
    assert store.group("g") is not None
    assert (tmp_path / "b" / "logs").is_dir()
    store.close()


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING])
def test_an_unfinished_one_stays(tmp_path: Path, status: Status) -> None:
    folder = run(tmp_path / "a", status)
    assert not retire(folder, tmp_path / "b")
    store = opened(folder)
    assert store.unfinished() == ["g"]
    store.close()


def test_one_in_use_stays(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", Status.SUCCESS)
    store = opened(folder)
    assert not retire(folder, tmp_path / "b")
    assert store.group("g") is not None
    store.close()
    assert retire(folder, tmp_path / "b")


def test_what_is_no_database_stays(tmp_path: Path) -> None:
    for name in ("empty", "no lock", "no database", "another", "damaged"):
        (tmp_path / name).mkdir()
    (tmp_path / "no lock" / DATABASE).write_bytes(b"")
    (tmp_path / "no database" / f"{DATABASE}.lock").write_bytes(b"")
    for name, content in (("another", b"x" * 200), ("damaged", b"SQLite format 3\0" + b"\0" * 200)):
        (tmp_path / name / f"{DATABASE}.lock").write_bytes(b"")
        (tmp_path / name / DATABASE).write_bytes(content)
    for name in ("empty", "no lock", "no database", "none at all"):
        before = sorted((tmp_path / name).glob("*"))
        assert not retire(tmp_path / name, tmp_path / "b")
        assert sorted((tmp_path / name).glob("*")) == before
    with pytest.raises(StoreCorruptError):
        retire(tmp_path / "another", tmp_path / "b")
    with pytest.raises(StoreError, match="another application"):
        retire(tmp_path / "damaged", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_who_waited_at_the_lock_of_one_that_went_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the lock's file open already when the folder goes."""
    folder = run(tmp_path / "a", Status.SUCCESS)
    real, calls = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            assert retire(folder, tmp_path / "b")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    store = opened(folder)
    assert len(calls) == 3, "its own, that of `retire`, and its own again"
    assert store.group("g") is None
    with pytest.raises(StateLockedError):
        database.lock(folder / DATABASE)
    store.accept_group(group(), [])
    store.close()
    again = opened(folder)
    assert again.unfinished() == ["g"]
    again.close()


def test_a_lock_is_not_made_where_there_is_none(tmp_path: Path) -> None:
    assert database.lock(tmp_path / "a" / DATABASE, make=False) is None
    assert os.listdir(tmp_path) == []
