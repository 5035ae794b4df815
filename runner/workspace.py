"""The folders that a group works in: its workspace, and private folders for what nobody else may read."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import UsageError

_PASSABLE = 0o711


def current() -> Path:
    """The current folder, absolute. Raises UsageError where it was removed."""
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the current folder does not exist any more; change to another one") from error


@contextmanager
def isolated(folder: Path) -> Iterator[Path]:
    """`folder`, empty unless a run that was killed left it, and removed at the end with all that is in it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        yield folder
    finally:
        remove(folder)


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
        raise UsageError(f"the folder {folder} cannot be made or used: {error.strerror}: {error.filename}") from error
    return folder


def _make(folder: Path) -> None:
    """Like `mkdir(parents=True)`, but parents that are made are private too."""
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def remove(folder: Path) -> None:
    """Remove a folder and all that is in it, also where tasks took away the permission to write. What still resists (a
    mount, another user's file) is left: an error here would hide the group's result."""
    for parent, names, _ in os.walk(folder):
        for name in names:
            inner = os.path.join(parent, name)
            if not os.path.islink(inner):
                with suppress(OSError):
                    os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
