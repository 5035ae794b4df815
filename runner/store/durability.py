"""What the store does beside the loop: bringing the write-ahead log to disk, and emptying it into the database."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from runner.errors import StoreError
from runner.store import database

CallSoon = Callable[[Callable[[], None]], object]
Done = Callable[[Exception | None], None]

CHECKPOINT_EVERY_ROWS = 4096
"""A changed row costs at most about one page of 4 KiB in the log."""

LONGEST_LOG_PAGES = 16384
"""64 MiB. Up to this length a checkpoint leaves writers alone; beyond it makes them wait once, for some milliseconds."""

_log = logging.getLogger(__name__)


class LogSync:
    """Answers once the write-ahead log is on disk.

    `synchronous = FULL` is `NORMAL` plus an fsync of the log after each commit (sqlite.org/pragma.html#pragma_synchronous):
    an fsync of the log file therefore gives all commits before it what FULL would have given them, and commits that were
    moved into the database meanwhile are safe already, for a checkpoint syncs the database before the log is used anew.
    SQLite holds no lock on the log file, so a descriptor of our own does no harm, and the file stays the same one for as
    long as the connection is open.

    All methods belong to the loop's thread; only the fsync runs in another.
    """

    def __init__(self, path: Path, call_soon_threadsafe: CallSoon) -> None:
        """Raises OSError. `path` is the database's; its connection is open and has been used."""
        self._path = path
        self._call_soon = call_soon_threadsafe
        self._log_file = os.open(database.wal_of(path), os.O_RDONLY | os.O_CLOEXEC)
        self._thread = ThreadPoolExecutor(1, "store-sync")
        self._waiting: list[Done] = []
        self._busy = False
        self._failure: StoreError | None = None

    def ask(self, done: Done) -> None:
        """Call `done` on the loop once all that is committed now is on disk, or with the error."""
        self._waiting.append(done)
        if not self._busy:
            self._begin()

    def close(self) -> None:
        """Answer all who wait, and end the thread."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._thread.submit(self._sync, waiting)
        self._thread.shutdown()
        os.close(self._log_file)

    def _begin(self) -> None:
        self._busy = True
        waiting, self._waiting = self._waiting, []
        self._thread.submit(self._sync, waiting)

    def _end(self) -> None:
        self._busy = False
        if self._waiting:
            self._begin()

    def _sync(self, waiting: Sequence[Done]) -> None:
        # After a failed fsync the kernel counts the lost pages as written: the next fsync would say that all is well.
        if self._failure is None:
            try:
                os.fdatasync(self._log_file)
            except OSError as error:
                self._failure = StoreError(
                    f"the state {self._path} could not be brought to disk: {error.strerror}; check the disk and restart"
                )
        for done in waiting:
            self._on_loop(partial(done, self._failure))
        self._on_loop(self._end)

    def _on_loop(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # a loop that is closed has nobody left who waits
            self._call_soon(callback)


class Checkpointer:
    """Moves what is in the write-ahead log into the database, on a connection and a thread of its own.

    SQLite's own checkpoints run within a commit and would stall the loop. A checkpoint that leaves writers alone
    (PASSIVE) is behind them again when it ends, and the log begins anew only when all of it was moved; so where no pause
    between two commits ever lets that happen, one is made that excludes them (RESTART) for the few pages that are left.
    """

    def __init__(
        self, path: Path, every_rows: int = CHECKPOINT_EVERY_ROWS, longest_log_pages: int = LONGEST_LOG_PAGES
    ) -> None:
        self._path = path
        self._every_rows = every_rows
        self._longest_log_pages = longest_log_pages
        self._thread = ThreadPoolExecutor(1, "store-checkpoint")
        self._connection: sqlite3.Connection | None = None
        self._rows = 0
        self._busy = False

    def changed(self, rows: int) -> None:
        """So many rows were changed since the last call."""
        self._rows += rows
        if self._rows >= self._every_rows and not self._busy:
            self._rows = 0
            self._busy = True
            self._thread.submit(self._run)

    def close(self) -> None:
        """Wait for the checkpoint that is under way, and end the thread."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        try:
            if self._connection is None:
                self._connection = database.connect(self._path)
            if checkpoint(self._connection, "PASSIVE") > self._longest_log_pages:
                checkpoint(self._connection, "PASSIVE")  # what came during the first, so that the next is short
                checkpoint(self._connection, "RESTART")
        except sqlite3.Error as error:
            # Nothing is lost: the log keeps what could not be moved, and the next checkpoint tries again.
            _log.warning("the state %s: %s", self._path, error, extra={"action": "checkpoint_failed"})
        finally:
            self._busy = False


def checkpoint(connection: sqlite3.Connection, mode: str) -> int:
    """How many pages the log had, in the database by now or not. Raises sqlite3.Error."""
    pages: int = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[1]
    return pages
