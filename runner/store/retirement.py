"""Takes a database out of the way that nobody uses and that holds nothing unfinished."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from runner.errors import StateLockedError
from runner.store import database, statements, trouble

DATABASE = "state.db"


def retire(folder: Path, destination: Path, *, unfinished: bool = False) -> bool:
    """Move `folder`, with the database `state.db` in it, to `destination` on the same file system; False, and nothing is changed, when it
    is in use, holds a group that is not over (unless that is `unfinished`, as when its runner was killed), or is no such folder.

    Whoever comes meanwhile finds it either in use or gone, and in the latter case begins anew: `database.lock` sees to that.
    Raises StoreError for a database that cannot be read, OSError when the folder cannot be moved.
    """
    path = folder / DATABASE
    try:
        lock = database.lock(path, make=False)
    except StateLockedError:
        return False
    if lock is None:
        return False
    try:
        if not path.is_file() or (not unfinished and _is_unfinished(path)):
            return False
        folder.rename(destination)
        return True
    finally:
        os.close(lock)


def _is_unfinished(path: Path) -> bool:
    try:
        database.check_header(path)
        # Closed before the folder is moved: SQLite removes its log by name, which may belong to somebody else by then.
        with contextlib.closing(database.connect(path)) as connection:
            return connection.execute(statements.queries()["select_unfinished"]).fetchone() is not None
    except sqlite3.Error as error:
        raise trouble.from_sqlite(error, path) from error
