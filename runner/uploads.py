"""Tar streams that strangers send, unpacked so that nothing outside the folder is ever touched.

Regular files and folders are made as they come; symbolic links last of all, so that nothing is ever written through one, and then it
is looked where they lead. Nothing else that a tar may hold (hard links, devices, sparse maps of the size of a disk, headers that do
not end) is accepted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runner.errors import LimitError, StoreFullError, UsageError

if TYPE_CHECKING:
    import tarfile

LARGEST_READ_BYTES = 1 << 20
"""A header that is larger is none."""
COPY_BYTES = 256 << 10
LONGEST_NAME_BYTES = 4000
_FAULTS_OF_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
DEEPEST = 200


class Unpacked(Struct, frozen=True, kw_only=True):
    bytes: int
    entries: int


class Allowance(Struct, frozen=True, kw_only=True):
    """How much a stream may bring, unpacked."""

    bytes: int
    entries: int


class Tape:
    """A stream that is read forwards, as far as `tarfile` has to know. `read` gives some bytes, none at the end."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._rest = memoryview(b"")
        self._position = 0
        self.last = b""
        """What was read last: at the end of a whole stream, a block of zeros."""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or position < self._position:
            raise _unreadable("it cannot be read backwards")
        while self._position < position:
            if not self._take(position - self._position):
                break
        return self._position

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > LARGEST_READ_BYTES:
            raise _unreadable(f"it has a header of {size:,} bytes")
        found = bytearray()
        while len(found) < size:
            piece = self._take(size - len(found))
            if not piece:
                break
            found += piece
        self.last = bytes(found)
        return self.last

    def _take(self, most: int) -> memoryview:
        if not self._rest:
            self._rest = memoryview(self._read())
        piece, self._rest = self._rest[:most], self._rest[most:]
        self._position += len(piece)
        return piece


def _unreadable(message: str) -> Exception:
    import tarfile

    return tarfile.ReadError(message)


def unpack(read: Callable[[], bytes], folder: Path, allowance: Allowance) -> Unpacked:
    """Everything in the stream into `folder`, which is empty and nobody else's. Raises UsageError and LimitError for what is not
    accepted, OSError, and whatever `read` raises; what there is by then is left for the caller to remove."""
    import tarfile  # and with it much that a node holds for nothing as long as nobody uploads

    work = _Unpacking(folder, allowance)
    try:
        tape = Tape(read)
        with tarfile.open(fileobj=tape, mode="r:", errorlevel=2) as tar:  # type: ignore[call-overload]  # as much as it uses
            while (member := tar.next()) is not None:
                work.add(tar, member)
                tar.members = []  # else it remembers all of them
        if tape.last != bytes(tarfile.BLOCKSIZE):
            raise UsageError("the workspace is cut off: it has no end")
        return work.finish()
    except tarfile.TarError as error:
        raise UsageError(f"the workspace is no tar stream that can be read: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError from error
        if error.errno in _FAULTS_OF_NAMES:
            name = os.path.relpath(os.fsdecode(error.filename), folder) if error.filename else "a name"
            raise UsageError(f"the workspace has {name!r}, which cannot be made: {error.strerror}") from error
        raise


class _Unpacking:
    def __init__(self, folder: Path, allowance: Allowance) -> None:
        self._folder = folder
        self._allowance = allowance
        self._links: dict[str, str] = {}
        self._modes: dict[str, int] = {}
        self._bytes = 0
        self._entries = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._entries += 1
        if self._entries > self._allowance.entries:
            limit = self._allowance.entries
            raise LimitError(f"the workspace has more than {limit:,} files and folders", limit=limit)
        name = _checked(member.name)
        path = self._folder / name
        if member.isdir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._modes[name] = member.mode & 0o777 | 0o700
        elif member.issym():
            self._links[name] = member.linkname
        elif member.isreg() and not member.issparse():
            self._write(tar, member, path)
        else:
            raise UsageError(f"the workspace has {name!r}, which is no regular file, folder or symbolic link")

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        self._bytes += member.size
        if self._bytes > self._allowance.bytes:
            limit = self._allowance.bytes
            raise LimitError(f"the workspace has more than {limit:,} bytes", limit=limit)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise UsageError(f"the workspace has {member.name!r} twice") from None
        source = tar.extractfile(member)
        assert source is not None, "a regular file has content"
        with open(descriptor, "wb") as target:
            while data := source.read(COPY_BYTES):
                target.write(data)
            os.fchmod(target.fileno(), member.mode & 0o777 | 0o600)

    def finish(self) -> Unpacked:
        for name, target in self._links.items():
            path = self._folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                path.symlink_to(target)
            except FileExistsError:
                raise UsageError(f"the workspace has {name!r} twice") from None
            except (OSError, ValueError) as error:
                raise UsageError(f"the workspace has {name!r}, a symbolic link that cannot be made: {error}") from error
        root = os.path.realpath(self._folder)
        for name, target in self._links.items():
            if os.path.isabs(target) or not _within(root, os.path.realpath(self._folder / name)):
                raise UsageError(f"the workspace has {name!r}, a symbolic link that leads out of it")
        for name, mode in self._modes.items():
            (self._folder / name).chmod(mode)
        return Unpacked(bytes=self._bytes, entries=self._entries)


def _checked(name: str) -> str:
    """Without `.` and `/` that say nothing. Raises UsageError for a name that is not one within a folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UsageError(f"the workspace has {name!r}, which would lie outside of it")
    if len(os.fsencode(name)) > LONGEST_NAME_BYTES or len(parts) > DEEPEST:
        raise UsageError(f"the workspace has a name that is too long or too deep: {name[:80]!r}…")
    return "/".join(parts) or "."


def _within(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
