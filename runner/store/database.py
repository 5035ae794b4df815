"""Opening the database: one process at a time, created whole or not at all, migrated step by step.

The functions raise StoreError or StateLockedError, and then have changed nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from runner.errors import StateLockedError, StoreError, StoreVersionError
from runner.store import trouble

APPLICATION_ID = 0x52554E52
"""«RUNR», in the header of every database of ours."""

OLDEST_SQLITE = (3, 37)
"""The first with STRICT tables."""

BUSY_TIMEOUT_SECONDS = 5.0
CACHE_KIB = 8192

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_PAGE_BYTES = slice(16, 18)
_PAGES = slice(28, 32)
_APPLICATION_ID = slice(68, 72)


def resolve(path: str | os.PathLike[str]) -> Path:
    """Where the database really is: two names of one file must not make two locks, and SQLite puts its files there.

    Refuses what is there and is not a file.
    """
    try:
        where = Path(os.path.realpath(path))
        mode = where.stat().st_mode
    except FileNotFoundError:
        return where
    except OSError as error:
        raise trouble.from_os(error, where) from error
    except ValueError as error:
        raise StoreError(f"{os.fspath(path)!r} is not a path: {error}") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise StoreError(f"the state {where} is {kind}, not a file: give another path")
    return where


@overload
def lock(path: Path) -> int: ...
@overload
def lock(path: Path, *, make: bool) -> int | None: ...
def lock(path: Path, *, make: bool = True) -> int | None:
    """Take `<path>.lock`, making it and the folder if there is none, or with `make` False giving None then; the descriptor
    holds the lock until it is closed.

    The file stays when the lock goes. Who moves the whole folder away holds the lock while he does it; who waits for it then
    sees that it is not the file of that name any more, and takes the one that is.
    """
    file = _beside(path, ".lock")
    while True:
        try:
            if make:
                _make_folder(path.parent)
            descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
        except FileNotFoundError as error:
            if not make:
                return None
            if _is_missing(path.parent):
                continue  # moved away since it was made
            raise trouble.from_os(error, path) from error
        except OSError as error:
            raise trouble.from_os(error, path) from error
        _take(descriptor, path)
        if _is_at(descriptor, file):
            return descriptor
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    """Raises StateLockedError, with the descriptor closed, when another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StateLockedError(
            f"the state {path} is in use by another runner (process {holder or 'unknown'}): "
            "end it, or give another state directory"
        ) from error
    with contextlib.suppress(OSError):  # the number is a courtesy to who finds it locked
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _is_missing(folder: Path) -> bool:
    try:
        return not folder.is_dir()
    except OSError:
        return False


def open_database(path: Path, scripts: Sequence[str]) -> sqlite3.Connection:
    """The database at `path`, made if there is none, at the version that `scripts` lead to. The caller holds the lock."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old: install {OLDEST_SQLITE[0]}.{OLDEST_SQLITE[1]} or newer"
        )
    try:
        if not _exists(path):
            _create(path, scripts)
        check_header(path)
        connection = connect(path)
    except OSError as error:
        raise trouble.from_os(error, path) from error
    except sqlite3.Error as error:
        raise trouble.from_sqlite(error, path) from error
    try:
        migrate(connection, scripts, path)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StoreError(f"the file system of {path} cannot hold a write-ahead log: give a folder on a local disk")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        _check_writable(connection, len(scripts))
        sync_folder(path.parent)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise trouble.from_sqlite(error, path) from error
        if isinstance(error, OSError):
            raise trouble.from_os(error, path) from error
        raise
    return connection


def open_beside(path: Path, scripts: Sequence[str]) -> tuple[sqlite3.Connection, bool]:
    """The database at `path` for reading, at the version that `scripts` lead to, and whether it lies still: nobody has it in use.

    One that lies still is read without a lock and without the files that SQLite would make beside it. An older one is
    read as a copy, in memory, which is migrated. Raises FileNotFoundError where there is none.
    """
    still = not is_in_use(path)
    try:
        check_header(path)
        connection = _connect(path, "mode=ro&immutable=1" if still else "mode=ro")
        try:
            if _version(connection) != len(scripts):
                connection, original = _connect_memory(), connection
                with contextlib.closing(original):
                    original.backup(connection)
                migrate(connection, scripts, path)
            connection.execute("PRAGMA query_only = 1")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise trouble.from_sqlite(error, path) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise trouble.from_os(error, path) from error
    return connection, still


def is_in_use(path: Path) -> bool:
    """Whether somebody has the database open, or was killed while he had."""
    return wal_of(path).exists()


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a database that exists, at an absolute path: every transaction explicit, every commit on disk (`synchronous = FULL`)."""
    return _connect(path, "mode=rw")


def connect_to_copy(path: Path) -> sqlite3.Connection:
    """As `connect`, and where nothing can be written all the same, be it that the disk has failed: then nobody else writes either."""
    if os.access(path.parent, os.W_OK):
        return connect(path)
    return _connect(path, "mode=ro" if is_in_use(path) else "mode=ro&immutable=1")


def _connect(path: Path, query: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?{query}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _connect_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def migrate(connection: sqlite3.Connection, scripts: Sequence[str], path: Path) -> None:
    """Lead the database to version `len(scripts)`, each script and its version number in one transaction."""
    version = _version(connection)
    if version > len(scripts):
        raise StoreVersionError(
            f"the state {path} has version {version}, this runner knows versions up to {len(scripts)}: "
            "use a newer runner, or give another state directory"
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def wal_of(path: Path) -> Path:
    """The write-ahead log of the database at `path`."""
    return _beside(path, "-wal")


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: Path) -> bool:
    """Whether there is a database; if so, others than its owner are shut out."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        for rest in (wal_of(path), _beside(path, "-journal")):
            # SQLite would take what is left of a database that is gone for a part of the new one.
            if rest.exists():
                raise trouble.corrupt(path, f"it is gone, but {rest.name} is there") from None
        return False
    if mode & 0o077:
        path.chmod(stat.S_IMODE(mode) & ~0o077)
    return True


def check_header(path: Path) -> None:
    """Refuse what is not ours before SQLite sees it: opening a database may already change it.

    `_create` puts a database in place whole, so its header can be relied on. Nothing of this process has the file open
    yet; later, closing a descriptor of it would drop the locks of SQLite.
    """
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    if len(header) < _HEADER_BYTES:
        raise trouble.corrupt(path, f"it has only {len(header)} bytes")
    if not header.startswith(_MAGIC):
        raise trouble.corrupt(path, "it is not a database")
    found = int.from_bytes(header[_APPLICATION_ID], "big")
    if found != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another application ({found:#010x}): give another path")
    # SQLite does not miss the end of the last page. While there is a log, the file may rightly be shorter.
    whole = int.from_bytes(header[_PAGE_BYTES], "big") * int.from_bytes(header[_PAGES], "big")
    if size < whole and not _has_content(wal_of(path)):
        raise trouble.corrupt(path, f"it has only {size} of its {whole} bytes")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _create(path: Path, scripts: Sequence[str]) -> None:
    """Build the database under another name and move it into place, so that no half of one is ever seen."""
    draft = _beside(path, ".new")
    for rest in (draft, wal_of(draft), _beside(draft, "-shm"), _beside(draft, "-journal")):
        rest.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with contextlib.closing(connect(draft)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # all of it at once, below
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(connection, scripts, path)
            connection.execute("PRAGMA journal_mode = WAL")
        _sync_file(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _check_writable(connection: sqlite3.Connection, version: int) -> None:
    """SQLite opens a file that it may not write for reading, and says so at the first change: make one that is none."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("ROLLBACK")


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
