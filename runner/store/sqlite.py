"""The store on disk: SQLite with a write-ahead log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import GroupExistsError, GroupNotFoundError, StoreError
from runner.model.event import Event
from runner.model.result import Status
from runner.store import database, rows, statements, trouble
from runner.store.base import Batch, GroupHead, GroupPage, GroupQuery, GroupRecord, GroupRow, TaskRow
from runner.store.durability import CallSoon, Checkpointer, Done, LogSync, checkpoint

PAGE_BYTES = 4096
NEWEST = (1 << 63) - 1
LONGEST_SCAN = 5000
"""How many groups one question looks at: some milliseconds."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """What need not be looked up again: a group's number in the database, and the number of its last event."""

    number: int
    last_event: int


class SqliteStore:
    """One database file; `record` is one transaction of the write-ahead log, some microseconds without waiting for the disk.

    Files beside it: `-wal` and `-shm` of SQLite while it is open, and `.lock`, which is locked for the store's life.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int, call_soon_threadsafe: CallSoon) -> None:
        """Use `open`. The store owns `connection` and the descriptor `lock` from now on. Raises OSError."""
        self._path = path
        self._connection = connection
        self._lock = lock
        self._closed = False
        self._sql = statements.queries()
        self._known: dict[str, _Known] = {}
        self._log_sync = LogSync(path, call_soon_threadsafe)
        self._checkpointer = Checkpointer(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, call_soon_threadsafe: CallSoon) -> SqliteStore:
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

    def accept_group(self, row: GroupRow, events: Sequence[Event]) -> None:
        with self._transaction() as connection:
            taken = connection.execute(self._sql["find_public"], (row.caller, row.public_id)).fetchone()
            if taken or connection.execute(self._sql["find_group"], (row.id,)).fetchone():
                raise GroupExistsError(f"the group {row.public_id} exists already")
            number = connection.execute(self._sql["insert_group"], rows.group_values(row)).lastrowid
            assert number is not None, "an INSERT that succeeded has a number"
            connection.execute(self._sql["insert_document"], (number, row.document, row.inputs))
            self._known[row.id] = _Known(number, 0)
            connection.executemany(self._sql["insert_event"], self._event_values(events))
        self._checkpointer.changed(2 + len(events) + (len(row.document) + len(row.inputs)) // PAGE_BYTES)

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
        for row in batch.groups:
            if row.status.terminal:
                self._known.pop(row.id, None)
        self._checkpointer.changed(len(batch.groups) + len(batch.tasks) + len(batch.attempts) + len(batch.events))

    def sync(self, done: Done) -> None:
        self._check_open()
        self._log_sync.ask(done)

    def group(self, id: str) -> GroupRecord | None:
        with self._reading() as connection:
            try:
                known = self._look_up(id)
            except GroupNotFoundError:
                return None
            number = (known.number,)
            return GroupRecord(
                group=rows.group_row(connection.execute(self._sql["select_group"], number).fetchone()),
                tasks=[rows.task_row(id, values) for values in connection.execute(self._sql["select_tasks"], number)],
                attempts=[
                    rows.attempt_row(id, values) for values in connection.execute(self._sql["select_attempts"], number)
                ],
                last_event=known.last_event,
            )

    def unfinished(self) -> Sequence[str]:
        with self._reading() as connection:
            return [id for (id,) in connection.execute(self._sql["select_unfinished"])]

    def groups(self, query: GroupQuery = GroupQuery()) -> GroupPage:  # noqa: B008 - it is frozen
        limit = max(0, query.limit)
        wanted = rows.query_values(query, newest=NEWEST, scan=LONGEST_SCAN)
        with self._reading() as connection:
            found = connection.execute(self._sql["select_groups"], wanted).fetchall()
            if limit and len(found) == limit:
                more = found[-1][-1]
            else:
                last, scanned = connection.execute(self._sql["select_last_scanned"], wanted).fetchone()
                more = last if limit and scanned == LONGEST_SCAN else None
            return GroupPage(rows=[rows.group_row(values) for values in found], next=more)

    def find(self, caller: str, public_id: str) -> str | None:
        with self._reading() as connection:
            found = connection.execute(self._sql["find_public"], (caller, public_id)).fetchone()
            return found[0] if found else None

    def head(self, id: str) -> GroupHead | None:
        with self._reading() as connection:
            try:
                known = self._look_up(id)
            except GroupNotFoundError:
                return None
            values = connection.execute(self._sql["select_head"], (known.number,)).fetchone()
            return GroupHead(group=rows.group_row(values), last_event=known.last_event)

    def document(self, id: str) -> bytes:
        with self._reading() as connection:
            (document,) = connection.execute(self._sql["select_document"], (self._look_up(id).number,)).fetchone()
            return bytes(document)

    def tasks(self, group: str, names: Sequence[str]) -> Sequence[TaskRow]:
        with self._reading() as connection:
            try:
                number = self._look_up(group).number
            except GroupNotFoundError:
                return []
            page = connection.execute(self._sql["select_named_tasks"], (number, json.dumps(list(names))))
            return [rows.task_row(group, values) for values in page]

    def task_counts(self, group: str) -> Mapping[Status, int]:
        with self._reading() as connection:
            try:
                number = self._look_up(group).number
            except GroupNotFoundError:
                return {}
            return {Status(name): count for name, count in connection.execute(self._sql["count_tasks"], (number,))}

    def events(self, group: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        with self._reading() as connection:
            try:
                number = self._look_up(group).number
            except GroupNotFoundError:
                return []
            page = connection.execute(self._sql["select_events"], (number, after, max(0, limit)))
            return [rows.event(group, values) for values in page]

    def delete_group(self, id: str) -> None:
        with self._transaction() as connection:
            found = connection.execute(self._sql["find_group"], (id,)).fetchone()
            if found is None:
                return
            for part in ("events", "attempts", "tasks", "document", "group"):
                connection.execute(self._sql[f"delete_{part}"], found[:1])
            self._known.pop(id, None)

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

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the state {self._path} is closed")

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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._check_open()
        try:
            yield self._connection
        except sqlite3.Error as error:
            raise trouble.from_sqlite(error, self._path) from error
        except (TypeError, ValueError) as error:
            raise trouble.corrupt(self._path, f"a row cannot be read ({error})") from error

    def _find(self, id: str) -> _Known:
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = self._look_up(id)
        return known

    def _look_up(self, id: str) -> _Known:
        found = self._connection.execute(self._sql["find_group"], (id,)).fetchone()
        if found is None:
            raise GroupNotFoundError(f"there is no group {id}")
        return _Known(*found)

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
