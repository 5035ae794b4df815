"""Tar streams that strangers send, unpacked so that nothing outside the folder is ever touched.

Regular files and folders are made as they come; symbolic links last of all, so that nothing is ever written through one, and then it
is looked where they lead. Nothing else that a tar may hold (hard links, devices, sparse maps of the size of a disk, headers that do
not end) is accepted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct

from runner.errors import LimitError, StoreFullError, UsageError

if TYPE_CHECKING:
    import tarfile

LARGEST_HEADER_BYTES = 1 << 20
"""What an entry has before its content, its long names and all that pax says of it: what is larger is none."""
MOST_READS_OF_A_HEADER = 64
"""`tarfile` goes one call deeper for each part of a header, of which an entry has five at most."""
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
        self._header: list[int] | None = None
        """How much each read of the present header was for."""
        self.last = b""
        """What was read last: at the end of a whole stream, a block of zeros."""

    @contextmanager
    def header(self) -> Iterator[None]:
        """What is read meanwhile comes before the content of one entry. Raises ReadError for what `tarfile` cannot make a header of."""
        self._header = []
        try:
            yield
        except (ValueError, IndexError, OverflowError) as error:
            raise _unreadable("a header is malformed") from error
        finally:
            self._header = None

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
        if size < 0:
            raise _unreadable(f"it has a header of {size:,} bytes")
        if self._header is not None:
            self._header.append(size)
            if len(self._header) > MOST_READS_OF_A_HEADER or sum(self._header) > LARGEST_HEADER_BYTES:
                raise _unreadable(f"it has a header of {sum(self._header):,} bytes in {len(self._header)} parts")
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


def opened(tape: Tape) -> tarfile.TarFile:
    """Raises TarError where no tar begins."""
    import tarfile

    with tape.header():  # it reads the first one
        return tarfile.TarFile(fileobj=tape, errorlevel=2)  # type: ignore[arg-type]  # as much as it uses


def following(tar: tarfile.TarFile, tape: Tape) -> tarfile.TarInfo | None:
    """The next entry. Raises TarError for one that cannot be read."""
    with tape.header():
        member = tar.next()
    tar.members, tar.pax_headers = [], {}  # type: ignore[attr-defined]  # else it remembers all that there ever was
    if member is not None and member.size < 0:
        raise _unreadable(f"{member.name!r} has a size below 0")
    return member


def unpack(read: Callable[[], bytes], folder: Path, allowance: Allowance) -> Unpacked:
    """Everything in the stream into `folder`, which is empty and nobody else's. Raises UsageError and LimitError for what is not
    accepted, OSError, and whatever `read` raises; what there is by then is left for the caller to remove."""
    import tarfile  # and with it much that a node holds for nothing as long as nobody uploads

    work = _Unpacking(folder, allowance)
    try:
        tape = Tape(read)
        with opened(tape) as tar:
            while (member := following(tar, tape)) is not None:
                work.add(tar, member)
        if tape.last != bytes(tarfile.BLOCKSIZE):
            raise UsageError("the workspace is cut off: it has no end; send it again")
        return work.finish()
    except tarfile.TarError as error:
        raise UsageError(f"the workspace is no tar stream that can be read: {error}; send it again") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError from error
        if error.errno in _FAULTS_OF_NAMES:
            name = os.path.relpath(os.fsdecode(error.filename), folder) if error.filename else "a name"
            raise UsageError(
                f"the workspace has {name!r}, which cannot be made: {error.strerror}; leave it out with --exclude"
            ) from error
        raise


class _Unpacking:
    def __init__(self, folder: Path, allowance: Allowance) -> None:
        self._folder = folder
        self._allowance = allowance
        self._links: dict[str, str] = {}
        self._modes: dict[str, int] = {}
        self._folders = {"."}
        self._implied: set[str] = set()
        """Folders that are there because something is in them, without an entry of their own so far."""
        self._bytes = 0
        self._entries = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = _checked(member.name)
        if name in self._implied:
            self._implied.remove(name)
        else:
            self._count()
        path = self._folder / name
        if member.isdir():
            self._make_folders(name)
            if name not in self._folders:
                path.mkdir(mode=0o700, exist_ok=True)
                self._folders.add(name)
            self._modes[name] = member.mode & 0o777 | 0o700
        elif member.issym():
            self._links[name] = member.linkname
        elif member.isreg() and not member.issparse():
            self._write(tar, member, name)
        else:
            raise UsageError(
                f"the workspace has {name!r}, which is no regular file, folder or symbolic link: leave it out with --exclude"
            )

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._allowance.entries:
            limit = self._allowance.entries
            raise LimitError(
                f"the workspace has more than {limit:,} files and folders: leave something out with --exclude",
                limit=limit,
            )

    def _make_folders(self, name: str) -> None:
        """Those that `name` is in; each counts, else a deep name would make two hundred."""
        around = [str(folder) for folder in PurePosixPath(name).parents]
        missing = list(takewhile(lambda folder: folder not in self._folders, around))
        for folder in reversed(missing):
            self._count()
            (self._folder / folder).mkdir(mode=0o700, exist_ok=True)
            self._folders.add(folder)
            self._implied.add(folder)

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        self._bytes += member.size
        if self._bytes > self._allowance.bytes:
            limit = self._allowance.bytes
            raise LimitError(
                f"the workspace has more than {limit:,} bytes: leave something out with --exclude", limit=limit
            )
        self._make_folders(name)
        try:
            descriptor = os.open(
                self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except FileExistsError:
            raise UsageError(f"the workspace has {member.name!r} twice: send each name once") from None
        source = tar.extractfile(member)
        assert source is not None, "a regular file has content"
        with open(descriptor, "wb") as target:
            while data := source.read(COPY_BYTES):
                target.write(data)
            os.fchmod(target.fileno(), member.mode & 0o777 | 0o600)

    def finish(self) -> Unpacked:
        for name, target in self._links.items():
            path = self._folder / name
            self._make_folders(name)
            try:
                path.symlink_to(target)
            except FileExistsError:
                raise UsageError(f"the workspace has {name!r} twice: send each name once") from None
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"the workspace has {name!r}, a symbolic link that cannot be made: {error}; leave it out with --exclude"
                ) from error
        root = os.path.realpath(self._folder)
        for name, target in self._links.items():
            if os.path.isabs(target) or not _within(root, os.path.realpath(self._folder / name)):
                raise UsageError(
                    f"the workspace has {name!r}, a symbolic link that leads out of it: leave it out with --exclude"
                )
        for name, mode in self._modes.items():
            (self._folder / name).chmod(mode)
        return Unpacked(bytes=self._bytes, entries=self._entries)


def _checked(name: str) -> str:
    """Without `.` and `/` that say nothing. Raises UsageError for a name that is not one within a folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UsageError(f"the workspace has {name!r}, which would lie outside of it: send names below the folder")
    if len(os.fsencode(name)) > LONGEST_NAME_BYTES or len(parts) > DEEPEST:
        raise UsageError(
            f"the workspace has a name that is too long or too deep: {name[:80]!r}…; leave it out with --exclude"
        )
    return "/".join(parts) or "."


def _within(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
