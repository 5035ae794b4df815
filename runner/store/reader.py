"""Reads a database of the store: one of its own, or one that another process may have in use."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from runner.errors import GroupNotFoundError, StateLockedError, StoreError
from runner.model.event import Event
from runner.model.result import Status
from runner.store import database, rows, statements, trouble
from runner.store.base import AttemptRow, GroupHead, GroupPage, GroupQuery, GroupRecord, TaskRow

T = TypeVar("T")

NEWEST = (1 << 63) - 1
LONGEST_SCAN = 5000
"""How many groups one question looks at: some milliseconds."""


class Known(Struct):
    """What need not be looked up again: a group's number in the database, and the number of its last event."""

    number: int
    last_event: int


class SqliteReader:
    """Implements runner.store.base.StoreReader."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, still: bool = False) -> None:
        """Use `open_beside`. It owns `connection` from now on. `still`: nobody wrote to the database when it was opened."""
        self._path = path
        self._connection = connection
        self._still = still
        self._closed = False
        self._sql = statements.queries()

    @classmethod
    def open_beside(cls, path: str | os.PathLike[str]) -> SqliteReader:
        """The database at `path` as it is, and as it will be while another process goes on writing to it. Neither takes the
        store's lock nor changes anything.

        Not in a process that has the store open itself. Raises FileNotFoundError where there is none, and StoreError as
        `SqliteStore.open` does.
        """
        where = database.resolve(path)
        connection, still = database.open_beside(where, statements.migrations())
        return SqliteReader(where, connection, still=still)

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
        return self._rows(group, "select_named_tasks", rows.task_row, json.dumps(list(names)))

    def tasks_in(self, group: str, statuses: Collection[Status], limit: int) -> Sequence[TaskRow]:
        wanted = json.dumps([status.value for status in statuses])
        return self._rows(group, "select_tasks_in", rows.task_row, wanted, max(0, limit))

    def attempts(self, group: str, task: str) -> Sequence[AttemptRow]:
        return self._rows(group, "select_attempts_at", rows.attempt_row, task)

    def task_counts(self, group: str) -> Mapping[Status, int]:
        with self._reading() as connection:
            try:
                number = self._look_up(group).number
            except GroupNotFoundError:
                return {}
            return {Status(name): count for name, count in connection.execute(self._sql["count_tasks"], (number,))}

    def events(self, group: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        return self._rows(group, "select_events", rows.event, after, max(0, limit))

    def _rows(self, group: str, query: str, made: Callable[[str, Any], T], *values: object) -> list[T]:
        """What the query finds of a group, each `made` of its values; nothing of an unknown group."""
        with self._reading() as connection:
            try:
                number = self._look_up(group).number
            except GroupNotFoundError:
                return []
            return [made(group, found) for found in connection.execute(self._sql[query], (number, *values))]

    def close(self) -> None:
        """Idempotent."""
        self._closed = True
        self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the state {self._path} is closed")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._check_open()
        try:
            yield self._connection
        except sqlite3.Error as error:
            self._check_quiet()
            raise trouble.from_sqlite(error, self._path) from error
        except (TypeError, ValueError) as error:
            self._check_quiet()
            raise trouble.corrupt(self._path, f"a row cannot be read ({error})") from error

    def _check_quiet(self) -> None:
        """What was read as if nobody wrote is worth nothing once somebody does."""
        if self._still and database.is_in_use(self._path):
            raise StateLockedError(f"the state {self._path} was taken up while it was read: try again")

    def _look_up(self, id: str) -> Known:
        found = self._connection.execute(self._sql["find_group"], (id,)).fetchone()
        if found is None:
            raise GroupNotFoundError(f"there is no group {id}")
        return Known(*found)
