"""Removing folders that programs have filled, perhaps out of malice: however deep, whatever the modes, without following links.

What takes long to remove is put aside first, by one rename, and removed later: whoever is ended in between has removed it all the same.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

ASIDE = ".removed-"
"""What the name of a folder begins with that was put aside. No group's id does."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def aside(folder: Path) -> Path:
    """A name in `folder` for something of it that is to be removed."""
    return folder / f"{ASIDE}{secrets.token_hex(8)}"


def remove_aside(folder: Path) -> None:
    """Remove all that was put aside in `folder`. Raises OSError where it cannot be looked into."""
    for rest in folder.glob(f"{ASIDE}*"):
        remove_tree(rest)


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a folder with all that is in it, or whatever else is at `path`. What resists (a mount, another user's file) is
    left. May be done by several at once, and may be ended at any time and be done again. Takes as long as there are files; memory
    is bounded by the number of folders, and the plain files at the top go first.

    Folders are moved to the top before they are emptied, so that neither a path nor the stack grows with the depth.
    """
    try:
        root = _opened(os.fspath(path), None)
    except FileNotFoundError:
        return
    except OSError:  # no folder
        with suppress(OSError):
            os.unlink(path)
        return
    mark = secrets.token_hex(8)
    folders: list[str] = []
    try:
        with suppress(OSError):
            _empty(root, root, mark, folders)
        for name in folders:  # which grows
            with suppress(OSError):
                folder = _opened(name, root)
                try:
                    _empty(folder, root, mark, folders)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=root)
    finally:
        os.close(root)
    with suppress(OSError):
        os.rmdir(path)


def _empty(folder: int, root: int, mark: str, folders: list[str]) -> None:
    """Remove the files in `folder`, move its folders to `root` and add their new names to `folders`."""
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except OSError:
            moved = f"{mark}.{len(folders)}"
            with suppress(OSError):
                try:
                    os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=root)
                except PermissionError:  # a folder that may not be written to may not be moved
                    os.close(_opened(name, folder))
                    os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=root)
                folders.append(moved)


def _opened(path: str, folder: int | None) -> int:
    """A descriptor of the folder at `path`, 0700 from now on."""
    try:
        descriptor = os.open(path, _FOLDER, dir_fd=folder)
    except PermissionError:
        # By a handle, for `chmod` follows links, and somebody could put one there.
        handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
            return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            os.close(handle)
    with suppress(OSError):
        os.fchmod(descriptor, 0o700)
    return descriptor
