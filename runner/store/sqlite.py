"""The store on disk: SQLite with a write-ahead log."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from runner.errors import GroupExistsError, StoreError
from runner.model.event import Event
from runner.store import database, rows, statements, trouble
from runner.store.base import Batch, FinishedGroup, GroupRow, Notice, TaskRow, Usage
from runner.store.durability import CallSoon, Checkpointer, Done, LogSync, checkpoint
from runner.store.reader import Known, SqliteReader

PAGE_BYTES = 4096

_log = logging.getLogger(__name__)


class SqliteStore(SqliteReader):
    """One database file; `record` is one transaction of the write-ahead log, some microseconds without waiting for the disk.

    Files beside it: `-wal` and `-shm` of SQLite while it is open, and `.lock`, which is locked for the store's life.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int, call_soon_threadsafe: CallSoon) -> None:
        """Use `open`. The store owns `connection` and the descriptor `lock` from now on. Raises OSError."""
        super().__init__(path, connection)
        self._lock = lock
        self._known: dict[str, Known] = {}
        self._log_sync = LogSync(path, call_soon_threadsafe)
        self._checkpointer = Checkpointer(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, call_soon_threadsafe: CallSoon) -> Self:
        """The store at `path`, made with its folder if there is none.

        `call_soon_threadsafe` is that of the loop that `sync` answers on. Raises StateLockedError when another process
        uses it; StoreVersionError, StoreCorruptError, StoreReadOnlyError, StoreFullError or another StoreError when it
        cannot be used, and then nothing was changed.
        """
        where = database.resolve(path)
        lock = database.lock(where)
        try:
            connection = database.open_database(where, statements.migrations())
            try:
                return cls(where, connection, lock, call_soon_threadsafe)
            except OSError as error:
                connection.close()
                raise trouble.from_os(error, where) from error
        except BaseException:
            os.close(lock)
            raise

    def accept_group(self, row: GroupRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> None:
        with self._transaction() as connection:
            taken = connection.execute(self._sql["find_public"], (row.caller, row.public_id)).fetchone()
            if taken or connection.execute(self._sql["find_group"], (row.id,)).fetchone():
                raise GroupExistsError(f"the group {row.public_id} exists already")
            number = connection.execute(self._sql["insert_group"], rows.group_values(row)).lastrowid
            assert number is not None, "an INSERT that succeeded has a number"
            connection.execute(self._sql["insert_document"], (number, row.document, row.inputs))
            self._known[row.id] = Known(number, 0)
            connection.executemany(self._sql["insert_event"], self._event_values(events))
            if tasks:
                connection.executemany(self._sql["replace_task"], [rows.task_values(number, task) for task in tasks])
        self._checkpointer.changed(2 + len(events) + len(tasks) + (len(row.document) + len(row.inputs)) // PAGE_BYTES)

    def record(self, batch: Batch) -> None:
        sql = self._sql
        find = self._find
        with self._transaction() as connection:
            if batch.groups:
                values = [(*rows.group_values(row), find(row.id).number) for row in batch.groups]
                connection.executemany(sql["update_group"], values)
            if batch.tasks:
                values = [rows.task_values(find(row.group).number, row) for row in batch.tasks]
                connection.executemany(sql["replace_task"], values)
            if batch.attempts:
                values = [rows.attempt_values(find(row.group).number, row) for row in batch.attempts]
                connection.executemany(sql["replace_attempt"], values)
            if batch.events:
                connection.executemany(sql["insert_event"], self._event_values(batch.events))
            if batch.notices:
                connection.executemany(sql["insert_notice"], [(find(id).number,) for id in batch.notices])
        for row in batch.groups:
            if row.status.terminal:
                self._known.pop(row.id, None)
        self._checkpointer.changed(len(batch.groups) + len(batch.tasks) + len(batch.attempts) + len(batch.events))

    def sync(self, done: Done) -> None:
        self._check_open()
        self._log_sync.ask(done)

    def delete_group(self, id: str) -> None:
        with self._transaction() as connection:
            found = connection.execute(self._sql["find_group"], (id,)).fetchone()
            if found is None:
                return
            connection.execute(self._sql["insert_removed"], (found[0], id))
            connection.execute(self._sql["delete_notice"], found[:1])
            connection.execute(self._sql["delete_group"], found[:1])
            self._known.pop(id, None)
        self._checkpointer.changed(3)

    def reseal(self, id: str, digest: str, inputs: bytes, outputs: Mapping[str, bytes]) -> None:
        with self._transaction() as connection:
            number = self._find(id).number
            connection.execute(self._sql["update_digest"], (digest, number))
            connection.execute(self._sql["update_inputs"], (inputs, number))
            values = [(sealed, number, name) for name, sealed in outputs.items()]
            connection.executemany(self._sql["update_outputs"], values)
        self._checkpointer.changed(2 + len(outputs))

    def compact(self) -> None:
        with self._reading() as connection:
            connection.execute("VACUUM")
            checkpoint(connection, "TRUNCATE")

    def purge(self, rows: int) -> bool:
        left = rows
        with self._transaction() as connection:
            while found := connection.execute(self._sql["select_next_removed"]).fetchone():
                number, document_bytes = found
                for part in ("events", "attempts", "tasks"):
                    if left > 0:
                        wanted = {"group": number, "rows": left}
                        left -= connection.execute(self._sql[f"purge_{part}"], wanted).rowcount
                if left <= 0:
                    break
                connection.execute(self._sql["delete_document"], (number,))
                connection.execute(self._sql["delete_removed"], (number,))
                left -= 2 + (document_bytes or 0) // PAGE_BYTES
        self._checkpointer.changed(rows - left)
        return found is not None

    def removed(self) -> Sequence[str]:
        with self._reading() as connection:
            return [id for (id,) in connection.execute(self._sql["select_removed"])]

    def finished(self, after: FinishedGroup | None = None, limit: int = 100) -> Sequence[FinishedGroup]:
        place = (after.finished_at, after.number) if after else (float("-inf"), 0)
        with self._reading() as connection:
            page = connection.execute(self._sql["select_finished"], (*place, max(0, limit)))
            return [rows.finished_group(values) for values in page]

    def usage(self) -> Usage:
        with self._reading() as connection:
            groups, log_bytes = connection.execute(self._sql["count_finished"]).fetchone()
            return Usage(groups=groups, log_bytes=log_bytes)

    def used_bytes(self) -> int:
        with self._reading() as connection:
            pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
            free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
            return (pages - free) * PAGE_BYTES

    def unmeasured(self, limit: int = 100) -> Sequence[str]:
        with self._reading() as connection:
            return [id for (id,) in connection.execute(self._sql["select_unmeasured"], (max(0, limit),))]

    def measured(self, log_bytes: Mapping[str, int]) -> None:
        with self._transaction() as connection:
            connection.executemany(self._sql["update_log_bytes"], [(size, id) for id, size in log_bytes.items()])
        self._checkpointer.changed(len(log_bytes))

    def notices(self, due: float, limit: int = 100) -> Sequence[Notice]:
        with self._reading() as connection:
            page = connection.execute(self._sql["select_notices"], (due, max(0, limit)))
            return [rows.notice(values) for values in page]

    def next_notice(self) -> float | None:
        with self._reading() as connection:
            due: float | None = connection.execute(self._sql["select_next_notice"]).fetchone()[0]
            return due

    def postpone(self, notice: Notice) -> None:
        self._change_notice("postpone_notice", notice.group, notice.tries, notice.due)

    def is_announced(self, group: str) -> bool:
        with self._reading() as connection:
            return connection.execute(self._sql["find_notice"], (group,)).fetchone() is not None

    def settle(self, group: str) -> None:
        self._change_notice("delete_notice", group)

    def _change_notice(self, statement: str, group: str, *values: float) -> None:
        with self._transaction() as connection:
            found = connection.execute(self._sql["find_group"], (group,)).fetchone()
            if found is not None:
                connection.execute(self._sql[statement], (*values, found[0]))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._checkpointer.close()
        self._log_sync.close()
        try:
            checkpoint(self._connection, "TRUNCATE")
        except sqlite3.Error as error:
            # Nothing is lost: the next process finds the rest in the log.
            _log.warning("the state %s: %s", self._path, error, extra={"action": "checkpoint_failed"})
        self._connection.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; what went wrong leaves no transaction open."""
        self._check_open()
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            self._known.clear()
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise trouble.from_sqlite(error, self._path) from error
            if isinstance(error, TypeError | ValueError | OverflowError):
                raise StoreError(f"the state {self._path} cannot keep a value: {error}") from error
            raise

    def _find(self, id: str) -> Known:
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = self._look_up(id)
        return known

    def _event_values(self, events: Iterable[Event]) -> list[tuple[Any, ...]]:
        """The events' columns, their numbers checked: each follows the last one of its group."""
        values = []
        for event in events:
            known = self._find(event.group)
            if event.number != known.last_event + 1:
                raise StoreError(f"event {event.number} of group {event.group} does not follow {known.last_event}")
            known.last_event = event.number
            values.append(rows.event_values(known.number, event))
        return values
