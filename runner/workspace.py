"""The folders that a group works in: its workspace, and private folders for what nobody else may read."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import UsageError
from runner.removal import remove_tree

_PASSABLE = 0o711
_TRIES = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def current() -> Path:
    """The current folder, absolute. Raises UsageError where it was removed."""
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the current folder does not exist any more; change to another one") from error


@contextmanager
def isolated(folder: Path, *, keep: bool = False) -> Iterator[Path]:
    """`folder`, empty unless a run that was killed left it, and removed at the end with all that is in it, unless it is to be kept."""
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        yield folder
    finally:
        if not keep:
            remove_tree(folder)


def make_temp(folder: Path) -> Path:
    """`folder` as `make_private` makes it; root's can be passed through, and not be read, by other users: tasks that run as
    they have folders of their own in it. Raises UsageError."""
    if os.geteuid() != 0:
        return make_private(folder)
    with suppress(FileNotFoundError):
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, _PASSABLE):
            return folder
    make_private(folder).chmod(_PASSABLE)
    return folder


def unmake_temp(folder: Path) -> None:
    """Remove it if nothing is in it."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def run_temp(folder: Path, prefix: str) -> Iterator[Path]:
    """`folder` as `make_temp` makes it, with what a former life of the same run has left in it; removed at the end.

    With it goes whatever else there is beside it whose name begins with `prefix`, that was made here and whose maker is gone:
    of a runner that was killed together with its supervisor nobody else removes it.
    """
    _sweep(folder, prefix)
    descriptor = _held(folder)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(descriptor)


def _held(folder: Path) -> int:
    """A lock on it, for as long as this process lives. Raises UsageError."""
    for tries_left in reversed(range(_TRIES)):
        try:
            make_temp(folder)
            descriptor = os.open(folder, _FOLDER)
        except (UsageError, FileNotFoundError) as error:
            if tries_left and isinstance(error.__cause__ or error, FileNotFoundError):
                continue  # what a former life left is being removed at this very moment
            raise
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # whoever removes it holds the lock meanwhile
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        os.close(descriptor)
    raise UsageError(f"the folder {folder} is removed again and again by somebody else; give another one")


def _sweep(own: Path, prefix: str) -> None:
    with suppress(OSError):
        for name in os.listdir(own.parent):
            if name.startswith(prefix) and name != own.name:
                remove_temp(own.with_name(name))


def remove_temp(folder: Path) -> None:
    """Remove what `run_temp` has made if its maker is gone. Raises nothing."""
    with suppress(OSError):
        descriptor = os.open(folder, _FOLDER)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that is empty may be about to be locked for the first time.
            if os.fstat(descriptor).st_uid == os.geteuid() and os.listdir(descriptor):
                remove_tree(folder)
        finally:
            os.close(descriptor)


def make_private(folder: Path) -> Path:
    """`folder` with mode 0700 and this user as its owner, made with its parents where it does not exist.

    Raises UsageError where it cannot be made, where somebody else made it first (what is written there would be theirs),
    and where others may use it and it is in use already (somebody else may need it as it is, like /tmp).
    """
    try:
        _make(folder)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UsageError(f"{folder} is not a folder of this user; remove it, or use another one")
        if status.st_mode & 0o077:
            if status.st_mode & stat.S_ISVTX or any(folder.iterdir()):
                raise UsageError(
                    f"{folder} is open to other users and in use already; give a folder of its own, or chmod 700 this one"
                )
            folder.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be made or used: {error.strerror}: {error.filename}; give another one"
        ) from error
    return folder


def _make(folder: Path) -> None:
    """Like `mkdir(parents=True)`, but parents that are made are private too."""
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
