from __future__ import annotations

import random
import signal
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import StateLockedError, StoreError
from runner.store import database
from runner.store.durability import Checkpointer, LogSync
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import Calls, group

RECORDS = """
import os, struct, sys
from runner.model.result import Status
from runner.store.base import Batch
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import attempt, event, group, task

store = SqliteStore.open(sys.argv[1], call_soon_threadsafe=lambda callback: None)
number = store.group("g").last_event // 2
while True:
    number += 1
    store.record(Batch(
        groups=[group(reason=str(number), status=Status.RUNNING)],
        tasks=[task(f"t{number % 500}", index=number % 500, error=str(number)), task("last", error=str(number))],
        attempts=[attempt("last", number)],
        events=[event(2 * number - 1), event(2 * number)],
    ))
    if number % 16 == 0:
        store.sync(lambda error: None)
    os.write(1, struct.pack("q", number))
"""
NUMBER_BYTES = 8
KILLS = 24


def _recorded(path: Path) -> int:
    """The number of the last whole record; fails when a part of one is there and another part is not."""
    store = SqliteStore.open(path, call_soon_threadsafe=Calls().call_soon)
    record = store.group("g")
    assert record is not None
    number = record.last_event // 2
    if number:
        last = next(row for row in record.tasks if row.name == "last")
        rest = next(row for row in record.tasks if row.name == f"t{number % 500}")
        assert (record.last_event, record.group.reason, last.error, rest.error, len(record.attempts)) == (
            *(2 * number, str(number), str(number), str(number)),
            number,
        )
        assert len(store.events("g", after=2 * number - 500, limit=1000)) == min(500, 2 * number)
    store.close()
    return number


def test_a_killed_process_loses_nothing_that_it_recorded(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path, call_soon_threadsafe=Calls().call_soon)
    store.accept_group(group(), [])
    store.close()
    choose = random.Random(7)
    total = 0
    for _ in range(KILLS):
        until = choose.choice([1, choose.randrange(1, 50), choose.randrange(1, 400)])
        with subprocess.Popen([sys.executable, "-c", RECORDS, str(path)], stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            reported = b""
            while len(reported) < until * NUMBER_BYTES:
                piece = process.stdout.read(until * NUMBER_BYTES - len(reported))
                assert piece, "the process ended by itself"
                reported += piece
            process.send_signal(signal.SIGKILL)
            reported += process.stdout.read()
        (last,) = struct.unpack("q", reported[-NUMBER_BYTES:])
        recorded = _recorded(path)
        assert last <= recorded <= last + 1
        total = recorded
    assert total > KILLS


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path, call_soon_threadsafe=Calls().call_soon)
    store.accept_group(group(), [])
    store.close()
    with subprocess.Popen([sys.executable, "-c", RECORDS, str(path)], stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stdout.read(NUMBER_BYTES)
        with pytest.raises(StateLockedError, match=f"process {process.pid}"):
            SqliteStore.open(path, call_soon_threadsafe=Calls().call_soon)
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
    assert _recorded(path) >= 1


def test_a_disk_that_failed_once_is_not_believed_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    log = database.wal_of(path)
    log.symlink_to("/dev/null")  # which cannot be synced
    calls = Calls()
    sync = LogSync(path, calls.call_soon)
    answers: list[Exception | None] = []
    sync.ask(answers.append)
    calls.run_until(lambda: len(answers) == 1)
    log.unlink()
    log.write_bytes(b"")
    sync.ask(answers.append)
    sync.ask(answers.append)
    calls.run_until(lambda: len(answers) == 3)
    sync.close()
    assert all(isinstance(answer, StoreError) and "check the disk" in answer.message for answer in answers)


def test_a_loop_that_is_closed_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database.wal_of(path).write_bytes(b"")

    def closed(callback: object) -> None:
        raise RuntimeError("Event loop is closed")

    sync = LogSync(path, closed)
    sync.ask(lambda error: None)
    sync.close()


@pytest.fixture
def writer(tmp_path: Path) -> sqlite3.Connection:
    return database.open_database(tmp_path / "state.db", ["CREATE TABLE t (x BLOB) STRICT;"])


def _insert(connection: sqlite3.Connection, size: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (zeroblob(?))", (size,))
    connection.execute("COMMIT")


def test_the_log_is_moved_into_the_database_beside_the_loop(writer: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    checkpointer = Checkpointer(path, every_rows=10)
    _insert(writer, 1_000_000)
    checkpointer.changed(9)
    checkpointer.changed(1)
    checkpointer.close()
    assert path.stat().st_size > 1_000_000
    length = database.wal_of(path).stat().st_size
    _insert(writer, 1_000_000)
    assert database.wal_of(path).stat().st_size == length  # it began anew
    writer.close()


def test_few_rows_are_left_in_the_log(writer: sqlite3.Connection, tmp_path: Path) -> None:
    size = (tmp_path / "state.db").stat().st_size
    checkpointer = Checkpointer(tmp_path / "state.db", every_rows=10)
    _insert(writer, 1_000_000)
    checkpointer.changed(9)
    checkpointer.close()
    assert (tmp_path / "state.db").stat().st_size == size
    writer.close()


def test_the_log_begins_anew_though_writing_never_pauses(writer: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    checkpointer = Checkpointer(path, every_rows=100, longest_log_pages=500)
    rows = 0
    for _ in range(3):
        life = _life_of_log(path)
        while _life_of_log(path) == life:
            _insert(writer, 16_000)
            checkpointer.changed(1)
            rows += 1
            assert rows < 50_000, "the log only grows"
    checkpointer.close()
    assert writer.execute("SELECT count(*), sum(length(x)) FROM t").fetchone() == (rows, rows * 16_000)
    writer.close()


def _life_of_log(path: Path) -> bytes:
    """Its salts, which are chosen whenever it begins anew (sqlite.org/fileformat.html#the_write_ahead_log)."""
    with database.wal_of(path).open("rb") as log:
        return log.read(32)[16:24]
