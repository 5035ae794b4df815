"""The workspaces of a node's groups: a folder for each, filled by an upload or empty, removed when the group is over.

workspaces/<group id>            of a group that runs
workspaces/.uploads/<id>.<hash>  an upload that no group has claimed yet; the hash is its caller's
workspaces/.uploads/<id>.part    one that has not come to its end
workspaces/.uploads/<id>.<hash>.claimed   a link that names the group which is about to be accepted with it
workspaces/.kept/<group id>      the group is over since the time of its last change, and its workspace kept for a while
workspaces/.guests/<hash>        what the attempts share that another runner has sent here of one of its groups
workspaces/.guests/<hash>.over   that group is over since the time of its last change, and this kept for a while
workspaces/.guests/<hash>.seen   when that runner was heard of about it last, as the time of its last change
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock

from runner.errors import GroupNotFoundError, LimitError, StoreFullError, StoreReadOnlyError
from runner.removal import remove_tree
from runner.uploads import Allowance, Unpacked, unpack
from runner.workspace import make_private

UNCLAIMED_SECONDS = 3600.0
MOST_UNCLAIMED = 16
"""Of one caller, so that nobody fills the disk with what no group needs."""
UNCLAIMED_RETRY_SECONDS = 60.0
FORSAKEN_SECONDS = 7 * 86_400.0
"""How long the workspace of a group of another runner is kept of which that runner says nothing."""
_CLAIMED = ".claimed"
_SEEN = ".seen"
_OVER = ".over"
MOST_LOOKED_AT = 10_000
"""Of shared workspaces, to find those of one runner."""


class Workspaces:
    """All methods but `provided` and `shared` may take long: call them from a thread."""

    def __init__(self, folder: Path, allowance: Allowance, now: Callable[[], float] = time.time) -> None:
        """`now` in seconds since the epoch, as file times are."""
        self._folder = make_private(folder)
        self._uploads = make_private(folder / ".uploads")
        self._guests = folder / ".guests"
        self._kept = folder / ".kept"
        self._allowance = allowance
        self._now = now
        self._sharing = Lock()
        self._occupying = Lock()
        self._occupied: Counter[Path] = Counter()
        self._unwanted: set[Path] = set()
        """To be removed once nobody is in them any more."""

    def receive(self, caller: str, read: Callable[[], bytes]) -> tuple[str, Unpacked]:
        """Unpack a tar stream; the id that its caller can claim it by. Nothing is left of one that is refused. Raises LimitError
        for a caller who has too many already that no group has claimed."""
        own = sum(path.name.endswith(_mark(caller)) for path in self._uploads.iterdir())
        if own >= MOST_UNCLAIMED:
            raise LimitError(
                f"{caller!r} has {own} workspaces here that no group has claimed, which is the most; submit groups with them",
                limit=MOST_UNCLAIMED,
                retry_after=UNCLAIMED_RETRY_SECONDS,
            )
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

    @contextmanager
    def provided(self, group: str, caller: str, upload: str = "") -> Iterator[Path]:
        """The workspace of a group that is accepted inside: the upload, or an empty folder where there is none. Where it is not
        accepted, because of an error or because the node is killed meanwhile, its caller has his upload as before. Raises
        GroupNotFoundError where he has no such upload, StoreFullError and StoreReadOnlyError where the disk takes none."""
        path = self._folder / group
        if not upload:
            with _told():
                path.mkdir(mode=0o700)
            with _undone(path.rmdir):
                yield path
            return
        kept = self._upload(upload, caller)
        if not upload.isalnum() or not kept.is_dir():
            raise GroupNotFoundError(
                f"there is no upload {upload!r}: one is kept for an hour and becomes the workspace of one group; bring it again"
            )
        mark = kept.with_name(kept.name + _CLAIMED)
        with _told():
            mark.unlink(missing_ok=True)
            mark.symlink_to(group)
        with _undone(partial(_give_back, mark, path)):
            with _told():
                kept.rename(path)
            yield path
        with suppress(OSError):  # the group has it, and the next `sweep` sees that
            mark.unlink()

    def shared(self, origin: str, group: str) -> Path:
        """The workspace of all that is sent here of this `group` of another runner, made where there is none; `origin` is what tells that
        runner from others. It is kept until `release`, or until nobody has called this for it for `FORSAKEN_SECONDS`. Raises
        StoreFullError and StoreReadOnlyError where the disk takes none."""
        path = self._shared(origin, group)
        with self._sharing, _told():
            make_private(self._guests)
            # First, so that there is no folder that nothing says the age of.
            seen = path.with_name(path.name + _SEEN)
            self._touch(seen)
            if not path.exists():
                seen.write_text(f"{origin}\0{group}")
                self._touch(seen)
            path.with_name(path.name + _OVER).unlink(missing_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            with self._occupying:
                self._unwanted.discard(path)  # somebody was in it when it was released
        return path

    def kept(self, origin: str, most: int) -> list[str]:
        """Groups of another runner whose workspaces are shared here and were not released, as far as they are found soon."""
        found: list[str] = []
        for seen in islice(self._guests.glob("*" + _SEEN), MOST_LOOKED_AT):
            with suppress(OSError, UnicodeDecodeError):
                whose, _, group = seen.read_text().rpartition("\0")
                path = seen.with_suffix("")
                # One that was not written to its end names another place.
                if whose == origin and path == self._shared(origin, group) and not path.with_suffix(_OVER).exists():
                    found.append(group)
            if len(found) == most:
                break
        return found

    def release(self, origin: str, group: str, keep_seconds: float = 0.0) -> None:
        """The other runner's group is over: its workspace here goes, or is kept for so long, counted from now on."""
        path = self._shared(origin, group)
        if keep_seconds > 0 and path.is_dir():
            with self._sharing, _told():
                self._touch(path.with_name(path.name + _OVER))
            return
        self._let_go(path)

    def _let_go(self, path: Path) -> None:
        with self._sharing:
            with self._occupying:
                if path in self._occupied:
                    self._unwanted.add(path)
                    return
            gone = self._out_of_use(path)
        remove_tree(gone)

    def remove(self, group: str) -> None:
        """Once nobody occupies it."""
        self._mark_of(group).unlink(missing_ok=True)
        self._remove(self._folder / group)

    def over(self, group: str, keep_seconds: float) -> None:
        """The group is over: its workspace goes, or is kept for so long, counted from now on."""
        if keep_seconds <= 0 or not (self._folder / group).is_dir():
            self.remove(group)
            return
        with _told():
            self._mark(group)

    def expire_kept(self, keep_seconds: float) -> None:
        """Remove what was kept for so long."""
        for mark in list(self._kept.glob("*")):
            with suppress(FileNotFoundError):
                if mark.lstat().st_mtime <= self._now() - keep_seconds:
                    self.remove(mark.name)
        for mark in list(self._guests.glob("*" + _OVER)):
            with suppress(FileNotFoundError):
                if mark.lstat().st_mtime <= self._now() - keep_seconds:
                    self._let_go(mark.with_suffix(""))

    def occupy(self, path: str) -> None:
        """Somebody is in this workspace: it is not removed before he says `vacate`."""
        with self._occupying:
            self._occupied[Path(path)] += 1

    def vacate(self, path: str) -> None:
        """What was to be removed meanwhile goes, with the last who was in it."""
        left = Path(path)
        with self._sharing:
            with self._occupying:
                self._occupied[left] -= 1
                if self._occupied[left] > 0:
                    return
                del self._occupied[left]
                if left not in self._unwanted:
                    return
                self._unwanted.remove(left)
            gone = self._out_of_use(left) if left.parent == self._guests else left
        remove_tree(gone)

    def _remove(self, path: Path) -> None:
        with self._occupying:
            if path in self._occupied:
                self._unwanted.add(path)
                return
        remove_tree(path)

    def _mark(self, group: str) -> None:
        self._touch(make_private(self._kept) / group)

    def _touch(self, mark: Path) -> None:
        mark.touch(mode=0o600)
        os.utime(mark, (self._now(), self._now()))

    def _mark_of(self, group: str) -> Path:
        return self._kept / group

    def sweep(self, live: Collection[str], keep_seconds: float = 0.0) -> None:
        """Remove the workspaces of all groups but these, unless they are kept for so long, and uploads that nobody has claimed in time or that were cut off. What was
        claimed for a group that was not accepted is an upload again."""
        for mark in list(self._uploads.glob("*" + _CLAIMED)):
            group = os.readlink(mark)
            if group in live:
                mark.unlink()
            else:
                _give_back(mark, self._folder / group)
        for path in list(self._folder.iterdir()):
            if path in (self._uploads, self._guests, self._kept) or path.name in live:
                continue
            if keep_seconds <= 0:
                self.remove(path.name)
            elif not self._mark_of(path.name).exists():  # a former life has seen its end, and nothing more
                self._mark(path.name)
        self.expire_kept(keep_seconds)
        for path in list(self._uploads.iterdir()):
            if path.suffix == ".part":
                remove_tree(path)
        self.expire()

    def expire(self) -> None:
        """Remove uploads that nobody has claimed in time, and workspaces whose runners have forsaken them."""
        for path in list(self._uploads.iterdir()):
            with suppress(FileNotFoundError):
                if path.suffix not in (".part", _CLAIMED) and path.lstat().st_mtime < self._now() - UNCLAIMED_SECONDS:
                    remove_tree(path)
        for seen in list(self._guests.glob("*" + _SEEN)):
            with self._sharing, suppress(FileNotFoundError):
                if seen.lstat().st_mtime < self._now() - FORSAKEN_SECONDS:
                    self._out_of_use(seen.with_suffix(""))
        for path in list(self._guests.glob("*.part")):  # also what a former life was about to remove
            remove_tree(path)

    def _shared(self, origin: str, group: str) -> Path:
        return self._guests / hashlib.sha256(f"{origin}\0{group}".encode()).hexdigest()[:32]

    def _out_of_use(self, path: Path) -> Path:
        """Take a shared workspace away, so that one that is asked for meanwhile is another; where it is, to be removed."""
        gone = self._guests / f"{secrets.token_hex(16)}.part"
        with suppress(FileNotFoundError):
            path.rename(gone)
        path.with_name(path.name + _OVER).unlink(missing_ok=True)
        path.with_name(path.name + _SEEN).unlink(missing_ok=True)  # last, so that what is left is found again
        return gone

    def _upload(self, id: str, caller: str) -> Path:
        return self._uploads / f"{id}{_mark(caller)}"


def _mark(caller: str) -> str:
    """What the names of a caller's uploads end with."""
    return f".{hashlib.sha256(caller.encode()).hexdigest()[:16]}"


def _give_back(mark: Path, workspace: Path) -> None:
    """Make an upload again of what was claimed; a part of that may have been done."""
    with suppress(FileNotFoundError):
        workspace.rename(mark.with_suffix(""))
    mark.unlink(missing_ok=True)


@contextmanager
def _undone(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` where what is done inside fails."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            undo()
        raise


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
