"""The workspaces of a node's groups: a folder for each, filled by an upload or empty, removed when the group is over.

workspaces/<group id>            of a group that runs
workspaces/.uploads/<id>.<hash>  an upload that no group has claimed yet; the hash is its caller's
workspaces/.uploads/<id>.part    one that has not come to its end
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import GroupNotFoundError, StoreFullError, StoreReadOnlyError
from runner.removal import remove_tree
from runner.uploads import Allowance, Unpacked, unpack
from runner.workspace import make_private

UNCLAIMED_SECONDS = 3600.0


class Workspaces:
    """All methods but `make` and `claim` may take long: call them from a thread."""

    def __init__(self, folder: Path, allowance: Allowance, now: Callable[[], float] = time.time) -> None:
        """`now` in seconds since the epoch, as file times are."""
        self._folder = make_private(folder)
        self._uploads = make_private(folder / ".uploads")
        self._allowance = allowance
        self._now = now

    def receive(self, caller: str, read: Callable[[], bytes]) -> tuple[str, Unpacked]:
        """Unpack a tar stream; the id that its caller can claim it by. Nothing is left of one that is refused."""
        id = secrets.token_hex(16)
        part = self._uploads / f"{id}.part"
        part.mkdir(mode=0o700)
        try:
            unpacked = unpack(read, part, self._allowance)
            os.utime(part, (self._now(), self._now()))  # its time is that of its arrival, whatever was unpacked
            part.rename(self._upload(id, caller))
        except BaseException:
            remove_tree(part)
            raise
        return id, unpacked

    def make(self, group: str) -> Path:
        """An empty workspace. Raises StoreFullError and StoreReadOnlyError where the disk takes none."""
        path = self._folder / group
        with _told():
            path.mkdir(mode=0o700)
        return path

    def claim(self, group: str, caller: str, upload: str) -> Path:
        """The upload as the group's workspace. Raises GroupNotFoundError where the caller has no such upload, and as `make`."""
        path = self._folder / group
        with suppress(OSError, ValueError), _told():
            if upload.isalnum():
                self._upload(upload, caller).rename(path)
                return path
        raise GroupNotFoundError(
            f"there is no upload {upload!r}: one is kept for an hour and becomes the workspace of one group; bring it again"
        )

    def remove(self, group: str) -> None:
        remove_tree(self._folder / group)

    def sweep(self, live: Collection[str]) -> None:
        """Remove the workspaces of all groups but these, and uploads that nobody has claimed in time or that were cut off."""
        for path in list(self._folder.iterdir()):
            if path != self._uploads and path.name not in live:
                remove_tree(path)
        for path in list(self._uploads.iterdir()):
            if path.suffix == ".part":
                remove_tree(path)
        self.expire()

    def expire(self) -> None:
        """Remove uploads that nobody has claimed in time."""
        for path in list(self._uploads.iterdir()):
            with suppress(FileNotFoundError):
                if path.suffix != ".part" and path.lstat().st_mtime < self._now() - UNCLAIMED_SECONDS:
                    remove_tree(path)

    def _upload(self, id: str, caller: str) -> Path:
        return self._uploads / f"{id}.{hashlib.sha256(caller.encode()).hexdigest()[:16]}"


@contextmanager
def _told() -> Iterator[None]:
    """What a disk does not take is said so that whoever asked knows when to ask again."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError from error
        if error.errno == errno.EROFS:
            raise StoreReadOnlyError from error
        raise
