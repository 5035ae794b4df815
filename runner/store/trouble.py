"""What SQLite and the operating system report, as errors that say what happened, where, and what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from runner.errors import (
    RunnerError,
    StateLockedError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_PRIMARY_CODE = 0xFF


def from_os(error: OSError, path: Path) -> StoreError:
    if error.errno in _FULL:
        return _full(path)
    if error.errno in _READ_ONLY:
        return _read_only(path, error.strerror or "permission denied")
    return StoreError(f"the state {path} cannot be used: {error.strerror or error}; give another state directory")


def from_sqlite(error: sqlite3.Error, path: Path) -> RunnerError:
    code = getattr(error, "sqlite_errorcode", None)
    # The index of the write-ahead log could not grow: SQLite does not call that a full disk, but it is one.
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return _full(path)
    match code & _PRIMARY_CODE if code is not None else None:
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return _read_only(path, str(error))
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return corrupt(path, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StateLockedError(f"another process holds the state {path}: end it and try again")
        case _:
            return StoreError(f"the state {path} cannot be used: {error}; check the disk and restart")


def corrupt(path: Path, what: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"the state {path} is damaged: {what}; it is left as it is: restore a copy, or move it away to begin anew"
    )


def _full(path: Path) -> StoreFullError:
    return StoreFullError(f"the disk that holds {path} is full: free some space and try again")


def _read_only(path: Path, what: str) -> StoreReadOnlyError:
    return StoreReadOnlyError(
        f"the state {path} cannot be written: {what}; make it and its folder writable, or give another state directory"
    )
