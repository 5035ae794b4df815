"""Databases that are read beside whoever has them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from runner.errors import StateLockedError, StoreCorruptError, StoreError, StoreVersionError
from runner.model.result import Status
from runner.store.base import Batch
from runner.store.reader import SqliteReader
from runner.store.retirement import DATABASE
from tests.contract.store_samples import group
from tests.unit.store.test_retirement import opened, run

WRITER = """
import sys
from msgspec.structs import replace
from runner.model.result import Status
from runner.store.base import Batch
from tests.contract.store_samples import group
from tests.unit.store.test_retirement import opened
from pathlib import Path
store = opened(Path(sys.argv[1]))
store.accept_group(group(), [])
for line in sys.stdin:
    store.record(Batch(groups=[replace(group(), reason=line.strip())]))
    print(line, end="", flush=True)
"""


def reason(reader: SqliteReader) -> str | None:
    head = reader.head("g")
    assert head is not None
    return head.group.reason


def test_one_that_lies_still_is_read_without_a_trace(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", Status.SUCCESS)
    before = sorted(os.listdir(folder))
    with closing(SqliteReader.open_beside(folder / DATABASE)) as reader:
        record = reader.group("g")
        assert record is not None
        assert record.group.status is Status.SUCCESS
        assert sorted(os.listdir(folder)) == before
    assert sorted(os.listdir(folder)) == before
    with pytest.raises(StoreError, match="is closed"):
        reader.group("g")


def test_what_another_process_writes_is_seen_and_what_it_leaves_when_it_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write(word: str) -> None:
            assert writer.stdin is not None
            assert writer.stdout is not None
            print(word, file=writer.stdin, flush=True)
            assert writer.stdout.readline() == f"{word}\n"

        write("one")
        with closing(SqliteReader.open_beside(tmp_path / DATABASE)) as reader:
            assert reason(reader) == "one"
            write("two")
            assert reason(reader) == "two"
            write("three")
            writer.kill()
            writer.wait()
            assert reason(reader) == "three"
    with closing(SqliteReader.open_beside(tmp_path / DATABASE)) as reader:
        assert reason(reader) == "three"
    store = opened(tmp_path)
    assert store.unfinished() == ["g"], "whoever takes it up finds all of it"
    store.close()


def test_one_that_is_taken_up_while_it_is_read_is_not_called_damaged(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", Status.RUNNING)
    with closing(SqliteReader.open_beside(folder / DATABASE)) as reader:
        (folder / DATABASE).write_bytes(bytes((folder / DATABASE).stat().st_size))
        with pytest.raises(StoreCorruptError):
            reader.group("g")
    folder = run(tmp_path / "b", Status.RUNNING)
    with closing(SqliteReader.open_beside(folder / DATABASE)) as reader:
        (folder / DATABASE).write_bytes(bytes((folder / DATABASE).stat().st_size))
        (folder / f"{DATABASE}-wal").touch()
        with pytest.raises(StateLockedError, match="was taken up while it was read: try again"):
            reader.group("g")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SqliteReader.open_beside(tmp_path / "none.db")
    (tmp_path / "torn.db").write_bytes(b"x")
    with pytest.raises(StoreCorruptError):
        SqliteReader.open_beside(tmp_path / "torn.db")
    folder = run(tmp_path / "a", Status.SUCCESS)
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreVersionError, match="has version 99"):
        SqliteReader.open_beside(folder / DATABASE)


def test_nothing_can_be_written_through_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.accept_group(group(), [])
    store.record(Batch(groups=[replace(group(), reason="x")]))
    store.close()
    with closing(SqliteReader.open_beside(tmp_path / DATABASE)) as reader, pytest.raises(sqlite3.OperationalError):
        reader._connection.execute("DELETE FROM groups")
