"""Copies of a database, of one that is in use too; whether a copy is whole, and what it takes to work on it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from runner.errors import RunnerError, StoreVersionError
from runner.store import database, statements, trouble

NOWHERE = "restored"
"""What stands before the instance of an executor that was on another machine, perhaps: no boot of any has this name."""


def take(path: Path, copy: Path) -> None:
    """Write the database at `path`, as it is at one moment, to `copy`, which is not there yet. Nobody who uses it is held up.
    Raises FileNotFoundError where there is none, StoreError."""
    try:
        database.check_header(path)
        with contextlib.closing(database.connect_to_copy(path)) as connection:
            _check_version(connection, path)
            connection.execute("VACUUM INTO ?", (str(copy),))
    except sqlite3.Error as error:
        raise trouble.from_sqlite(error, path) from error


def fault(path: Path) -> str | None:
    """What is wrong with a database that nobody uses, as words that follow its name; None where it is whole."""
    try:
        database.check_header(path)
        with contextlib.closing(database.connect(path)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            _check_version(connection, path)
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except (OSError, sqlite3.Error, RunnerError) as error:
        return f"cannot be used: {error}"
    return None if found == "ok" else f"is not whole: {found}"


def disown(path: Path) -> int:
    """Make a copy that nobody uses one of another life: its attempts that are not over belong to no machine any more, so that
    nobody looks for their processes, which may be those of the node that the copy was taken of. How many groups are not over.
    Raises StoreError."""
    queries = statements.queries()
    try:
        with contextlib.closing(database.connect(path)) as connection:
            connection.execute(queries["disown_attempts"], (NOWHERE,))
            return len(connection.execute(queries["select_unfinished"]).fetchall())
    except sqlite3.Error as error:
        raise trouble.from_sqlite(error, path) from error


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    known = len(statements.migrations())
    if version > known:
        raise StoreVersionError(
            f"the state {path} has version {version}, this runner knows versions up to {known}: use a newer runner"
        )
