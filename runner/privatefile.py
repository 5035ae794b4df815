"""Files that nobody but one user may read: there whole or not at all, and on the disk."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def make_folder(folder: Path) -> None:
    """`folder` (0700) and what is missing of its parents; one that is there stays as it is. Raises OSError.

    What root makes in somebody's folder is theirs: a node that is no root finds what its administrator has made for it.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    _give(folder, folder.parent)


def write(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = False) -> None:
    """Put `data` at `path` in one step. Raises OSError, FileExistsError where something is there and `replace` is not given.

    Who is killed in the middle leaves a draft at most, whose name begins with a dot.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            _give(descriptor, path.parent)
            os.fsync(descriptor)
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def opener(path: str, flags: int) -> int:
    """As `open` wants it: for this user alone. Unlike `write` it does not wait for the disk."""
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give(what: Path | int, parent: Path) -> None:
    """Make it its folder's owner's."""
    if os.geteuid() == 0:
        owner = parent.stat()
        if owner.st_uid != 0:
            os.chown(what, owner.st_uid, owner.st_gid)
