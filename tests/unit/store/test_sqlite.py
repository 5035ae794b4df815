"""What is SQLite's own: refusals, the files, the disk."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.errors import (
    RunnerError,
    StateLockedError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
)
from runner.store.base import Batch
from runner.store.sqlite import SqliteStore
from runner.store.statements import migrations
from tests.contract.store_samples import FULL_TASK, Calls, attempt, event, group, synced, task

Require = Callable[[str], None]


def _open(path: Path) -> SqliteStore:
    return SqliteStore.open(path, call_soon_threadsafe=Calls().call_soon)


def _state(path: Path, tasks: int = 200) -> Path:
    """A closed state with one group."""
    store = _open(path)
    store.accept_group(group(), [event(1)])
    store.record(Batch(tasks=[task(f"t{number}", index=number, error="e" * 200) for number in range(tasks)]))
    store.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "state.db"


def test_files_belong_to_their_owner_alone(path: Path) -> None:
    store = _open(path)
    store.accept_group(group(), [])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    folders = [stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)]
    store.close()
    assert modes == dict.fromkeys(["state.db", "state.db-wal", "state.db-shm", "state.db.lock"], 0o600)
    assert folders == [0o700, 0o700]
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


def test_a_state_that_others_can_read_is_closed_to_them(path: Path) -> None:
    _state(path).chmod(0o644)
    _open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_strange_names_are_names(tmp_path: Path) -> None:
    for name in ("a b", "q?mode=ro", "ü%20#x", "\udcff"):
        _state(tmp_path / name)
        store = _open(tmp_path / name)
        assert store.unfinished() == ["g"]
        store.close()


def test_a_state_has_one_lock_under_all_its_names(path: Path, tmp_path: Path) -> None:
    _state(path)
    (tmp_path / "link").symlink_to(path)
    store = _open(tmp_path / "link")
    with pytest.raises(StateLockedError):
        _open(path)
    store.close()


def _refusal(path: Path, error: type[RunnerError], *words: str) -> None:
    """Opening `path` is refused with this very error, whose message names the path and `words`."""
    with pytest.raises(RunnerError) as caught:
        _open(path)
    assert type(caught.value) is error, caught.value
    for word in (str(path), *words):
        assert word in caught.value.message


def test_a_newer_version_is_refused(path: Path) -> None:
    with sqlite3.connect(_state(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    _refusal(path, StoreVersionError, "99", f"up to {len(migrations())}", "newer runner")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"SQLite format 3\0",
        b"\0" * 8192,
        b"no database at all\n" * 500,
        b"SQLite format 3\0" + b"\xff" * 9000,
    ],
)
def test_what_is_not_a_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"state\.db"):
        _open(path)
    assert path.read_bytes() == content


def test_a_database_of_another_application_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    before = path.read_bytes()
    _refusal(path, StoreError, "another application")
    assert path.read_bytes() == before


@pytest.mark.parametrize("part", [0.0, 0.001, 0.02, 0.5, 0.99])
def test_a_truncated_database_is_refused(path: Path, part: float) -> None:
    content = _state(path).read_bytes()
    cut = content[: int(len(content) * part)]
    path.write_bytes(cut)
    _refusal(path, StoreCorruptError, "restore a copy")
    assert path.read_bytes() == cut


def test_a_damaged_page_is_reported_when_it_is_read(path: Path) -> None:
    content = bytearray(_state(path).read_bytes())
    for start in range(4096 * 4, len(content), 4096):
        content[start : start + 64] = b"\xa5" * 64
    path.write_bytes(content)
    with pytest.raises(StoreCorruptError, match="restore a copy"):
        _read_all(path)


def _read_all(path: Path) -> None:
    store = _open(path)
    try:
        for id in store.unfinished():
            store.group(id)
            store.events(id)
    finally:
        store.close()


def test_a_row_that_makes_no_sense_is_damage(path: Path) -> None:
    with sqlite3.connect(_state(path)) as connection:
        connection.execute("UPDATE tasks SET status = 'nonsense' WHERE name = 't3'")
    connection.close()
    with pytest.raises(StoreCorruptError, match="nonsense"):
        _read_all(path)


@pytest.mark.parametrize("rest", ["state.db-wal", "state.db-journal"])
def test_a_journal_without_its_database_is_not_taken_for_the_journal_of_a_new_one(path: Path, rest: str) -> None:
    _state(path).unlink()
    (path.parent / rest).write_bytes(b"what was recorded last")
    _refusal(path, StoreCorruptError, rest)
    assert not path.exists()


def test_a_draft_that_was_left_behind_does_no_harm(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for rest in ("state.db.new", "state.db.new-journal", "state.db.new-wal"):
        (path.parent / rest).write_bytes(b"half of a database")
    _state(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


def test_a_path_that_cannot_be_a_database(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    _refusal(tmp_path / "folder", StoreError, "a folder")
    _refusal(tmp_path / "file" / "state.db", StoreError)
    _refusal(tmp_path / "pipe", StoreError, "pipe")
    _refusal(tmp_path / ("n" * 300), StoreError)
    with pytest.raises(StoreError, match="null byte"):
        SqliteStore.open("a\0b", call_soon_threadsafe=Calls().call_soon)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder", "pipe"]


def test_a_state_in_use_is_refused_and_free_after_close(path: Path) -> None:
    store = _open(path)
    _refusal(path, StateLockedError, "process")
    store.accept_group(group(), [])
    store.close()
    _open(path).close()


def test_a_value_that_cannot_be_kept_is_refused_whole(path: Path) -> None:
    store = _open(path)
    store.accept_group(group(), [])
    for bad in (task(error="\udcff"), task(exit_code=1 << 64), task(error=object()), task(index="x")):
        with pytest.raises(StoreError):
            store.record(Batch(tasks=[task("good", index=1), bad], events=[event(1)]))
        record = store.group("g")
        assert record is not None
        assert (record.tasks, record.last_event) == ([], 0)
    store.record(Batch(tasks=[task()], events=[event(1)]))
    store.close()


def test_sqlite_can_read_what_was_recorded(path: Path) -> None:
    """The words of the schema are those of the rows."""
    store = _open(path)
    store.accept_group(group(), [event(1)])
    store.record(Batch(tasks=[FULL_TASK], attempts=[attempt()]))
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name, status, retry_at FROM tasks").fetchall() == [
        ("t", "failed", "1700000060.5 60.25 another boot")
    ]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.fixture
def small_disk(require: Require, tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB of its own."""
    require("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def _fill(store: SqliteStore) -> int:
    """Record until the disk is full; returns the number of the last record."""
    kept = 0
    with contextlib.suppress(StoreFullError):
        while kept < 10_000:
            number = kept + 1
            store.record(Batch(tasks=[task(error=str(number), outputs=b"o" * 3000)], events=[event(number)]))
            kept = number
    return kept


def test_a_full_disk_loses_nothing_and_can_be_mended(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    calls = Calls()
    store = SqliteStore.open(small_disk / "state.db", call_soon_threadsafe=calls.call_soon)
    store.accept_group(group(), [])
    kept = _fill(store)
    batch = Batch(tasks=[task(error="at last")], events=[event(kept + 1), event(kept + 2)])
    with pytest.raises(StoreFullError, match="free some space"):
        store.accept_group(group("big", document=b"x" * 1_500_000), [])
    assert store.group("big") is None
    record = store.group("g")
    assert record is not None
    assert (record.last_event, record.tasks[0].error) == (kept, str(kept))
    ballast.unlink()
    store.record(batch)
    assert synced(store, calls) is None
    store.close()
    store = _open(small_disk / "state.db")
    record = store.group("g")
    assert record is not None
    assert (record.last_event, record.tasks[0].error) == (kept + 2, "at last")
    assert 10 < kept < 10_000
    store.close()


def test_a_state_is_not_half_made_on_a_full_disk(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (2 * 1024 * 1024 - 16 * 1024))
    _refusal(small_disk / "state.db", StoreFullError)
    assert not (small_disk / "state.db").exists()
    (small_disk / "ballast").unlink()
    _open(small_disk / "state.db").close()


def test_a_read_only_disk_is_refused(small_disk: Path) -> None:
    path = _state(small_disk / "state.db")
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    _refusal(path, StoreReadOnlyError, "writable")
    _refusal(small_disk / "new" / "state.db", StoreReadOnlyError)
    assert path.read_bytes() == before


def test_a_read_only_file_is_refused(small_disk: Path) -> None:
    path = _state(small_disk / "state.db")
    before = path.read_bytes()
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        _refusal(path, StoreReadOnlyError)
    finally:
        subprocess.run(["umount", path], check=True)
    assert path.read_bytes() == before
    _open(path).close()


@pytest.mark.parametrize("read_only", ["folder", "file"])
def test_what_this_user_may_not_write_is_refused(require: Require, path: Path, read_only: str) -> None:
    require("unprivileged")
    _state(path)
    target = path.parent if read_only == "folder" else path
    (path.parent / "state.db.lock").unlink()
    target.chmod(0o500)
    try:
        _refusal(path, StoreReadOnlyError)
    finally:
        target.chmod(0o700)
