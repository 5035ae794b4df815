"""The form of a backup: a tar stream, which can be piped, and looked into with what every system has.

runner-backup.json     what it is of; always first
state.db, logs/…, …    the files of the state directory
runner-backup.sha256   the digests of all that stands before it, as `sha256sum` writes them; always last, so that a backup which
                       was cut off is known by its lack

Of a file with holes the parts between them stand one behind the other; the header says where they belong.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
from msgspec import Struct

from runner import privatefile
from runner.errors import BackupError
from runner.uploads import Tape, following, opened

FORMAT = 1
FIRST = "runner-backup.json"
LAST = "runner-backup.sha256"

COPY_BYTES = 256 << 10
MOST_PARTS = 1000
LARGEST_NOTE_BYTES = 256 << 20
"""Of the first and the last member. Digests take some 120 bytes a file."""

_PLACES = "RUNNER.places"
_SIZE = "RUNNER.size"
_LARGEST_FILE_BYTES = 1 << 62
_NAME = re.compile(
    r"runner\.toml|key|tokens/[0-9a-f]+\.json|(?:runs/[A-Za-z0-9][\w-]*/)?(?:state\.db|logs/[\w%~-]+/[\w%~-]+\.[0-9]+\.log)",
    re.ASCII,
)
"""Names of all that a backup may hold beside its first and last member."""
_PARTS = re.compile(r"[0-9]{1,19}:[0-9]{1,19}(?:,[0-9]{1,19}:[0-9]{1,19})*", re.ASCII)


class Heading(Struct, frozen=True, kw_only=True):
    """`node` is the identity of the node that it is of, `key` that of the sealing key; both None where there was none yet."""

    format: int = FORMAT
    version: str
    taken_at: str
    node: str | None = None
    key: str | None = None
    with_key: bool = False


class Part(NamedTuple):
    """Of a file: from where on, and how much."""

    at: int
    size: int


class Writer:
    """Writes one backup to `target`; one that is not finished is cut off, and known as that. Raises OSError."""

    def __init__(self, target: BinaryIO, heading: Heading) -> None:
        # Not its mode for streams: that writes its end by itself when it is forgotten, to a file that may be closed by then.
        self._tar = tarfile.open(fileobj=_Onward(target), mode="w", format=tarfile.PAX_FORMAT)  # type: ignore[call-overload]  # noqa: SIM115 (see `finish`)
        self._digests: list[str] = []
        self.files = 0
        self.bytes = 0
        self._put(FIRST, msgspec.json.encode(heading))

    def add(self, name: str, path: Path, *, head: int = 0) -> bool:
        """The file at `path` as far as it goes now, its first `head` bytes as they are when all the others were read; False where
        there is none any more."""
        assert _NAME.fullmatch(name), name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            size = os.fstat(descriptor).st_size
            parts = _with_head_last(_parts(descriptor, size), min(head, size))
            info = _info(name, sum(part.size for part in parts))
            if size and parts != [Part(0, size)]:
                info.pax_headers = {_PLACES: ",".join(f"{at}:{length}" for at, length in parts), _SIZE: str(size)}
            source = _Source(descriptor, parts)
            self._tar.addfile(info, source)
        finally:
            os.close(descriptor)
        self._digests.append(f"{source.digest.hexdigest()}  {name}\n")
        self.files += 1
        self.bytes += info.size
        return True

    def finish(self) -> None:
        self._put(LAST, "".join(self._digests).encode())
        self._tar.close()

    def _put(self, name: str, data: bytes) -> None:
        self._tar.addfile(_info(name, len(data)), io.BytesIO(data))
        self._digests.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")


def unpack(read: Callable[[], bytes], folder: Path) -> Heading:
    """Everything in the backup into `folder`, which is empty and nobody else's. `read` gives some bytes, none at the end. Raises
    BackupError for what is none, or is damaged, OSError, and what `read` raises; what there is by then is left for the caller to
    remove. Nothing is ever written outside of `folder`."""
    try:
        tape = Tape(read)
        tar = opened(tape)
        first = following(tar, tape)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError("it is no backup of a runner") from error
    if first is None or first.name != FIRST:
        raise BackupError("it is no backup of a runner")
    try:
        return _unpacked(tar, tape, first, folder)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"it is cut off or damaged: {error}") from error


def _unpacked(tar: tarfile.TarFile, tape: Tape, first: tarfile.TarInfo, folder: Path) -> Heading:
    data = _read(tar, first)
    heading = _heading(data)
    digests = {FIRST: hashlib.sha256(data).hexdigest()}
    while (member := following(tar, tape)) is not None:
        if member.name == LAST:
            _check(_read(tar, member), digests)
            return heading
        if not _NAME.fullmatch(member.name) or not member.isreg() or member.issparse():
            raise BackupError(f"it holds {member.name!r}, which is nothing of a runner's")
        if member.name in digests:
            raise BackupError(f"it holds {member.name!r} twice")
        digests[member.name] = _write(tar, member, folder)
    raise BackupError("it is cut off: its end is missing")


def _heading(data: bytes) -> Heading:
    try:
        heading = msgspec.json.decode(data, type=Heading)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError(f"it is damaged: {FIRST} cannot be read ({error})") from error
    if heading.format > FORMAT:
        raise BackupError(f"it is of form {heading.format}, made by runner {heading.version}: use a newer runner")
    return heading


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """All of a small member."""
    if not member.isreg() or member.size > LARGEST_NOTE_BYTES:
        raise BackupError(f"it is damaged: {member.name} is not what it should be")
    return b"".join(_content(tar, member))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    source = tar.extractfile(member)
    assert source is not None, "a regular file has content"
    left = member.size
    while left:
        data = source.read(min(left, COPY_BYTES))
        if not data:
            raise BackupError(f"it is cut off in {member.name}")
        left -= len(data)
        yield data


def _check(told: bytes, digests: dict[str, str]) -> None:
    found = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
    if found == told:
        return
    lines = set(told.decode(errors="replace").splitlines())
    for name, digest in digests.items():
        if f"{digest}  {name}" not in lines:
            raise BackupError(f"it is damaged: {name} is not what it was when the backup was taken")
    raise BackupError("it is damaged: something of it is missing")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """The digest of what was written."""
    parts, size = _places(member)
    path = folder / member.name
    privatefile.make_folder(path.parent)
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        places = iter(parts)
        at, left = next(places, Part(0, 0))
        for data in _content(tar, member):
            digest.update(data)
            view = memoryview(data)
            while view:
                while not left:
                    at, left = next(places)
                written = os.pwrite(descriptor, view[:left], at)
                view, at, left = view[written:], at + written, left - written
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _places(member: tarfile.TarInfo) -> tuple[Sequence[Part], int]:
    """Where the content belongs, and how large the file is."""
    told, size = member.pax_headers.get(_PLACES), member.pax_headers.get(_SIZE, "")
    if told is None:
        return [Part(0, member.size)], member.size
    if not _PARTS.fullmatch(told) or not size.isascii() or not size.isdigit() or len(size) > 19:
        raise BackupError(f"it is damaged: the places of {member.name} cannot be read")
    parts = [Part(*map(int, part.split(":"))) for part in told.split(",")]
    end = 0
    for part in sorted(parts):
        if part.at < end:
            raise BackupError(f"it is damaged: the places of {member.name} overlap")
        end = part.at + part.size
    if end > int(size) or int(size) > _LARGEST_FILE_BYTES or sum(part.size for part in parts) != member.size:
        raise BackupError(f"it is damaged: the places of {member.name} do not fit its size")
    return parts, int(size)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o600
    return info


def _parts(descriptor: int, size: int) -> list[Part]:
    """Of a file what is no hole; one part for all of it where the system cannot tell, or there are very many."""
    parts: list[Part] = []
    at = 0
    try:
        while at < size and len(parts) <= MOST_PARTS:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, begin, os.SEEK_HOLE)
            if begin < size:
                parts.append(Part(begin, min(at, size) - begin))
    except OSError:  # nothing but a hole follows
        if not parts and size:
            return [Part(0, size)]
    return parts if len(parts) <= MOST_PARTS else [Part(0, size)]


def _with_head_last(parts: list[Part], head: int) -> list[Part]:
    if not head or not parts or parts[0].at or parts[0].size <= head:
        return parts
    return [Part(head, parts[0].size - head), *parts[1:], Part(0, head)]


class _Onward:
    """What tarfile writes to: a pipe knows no place."""

    def __init__(self, target: BinaryIO) -> None:
        self.write = target.write

    def tell(self) -> int:
        return 0


class _Source(io.RawIOBase):
    """Reads parts of a file one behind the other. What was cut off meanwhile is read as zeros."""

    def __init__(self, descriptor: int, parts: Sequence[Part]) -> None:
        self._descriptor = descriptor
        self._parts = list(reversed(parts))
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while self._parts and len(found) < size:
            at, left = self._parts.pop()
            wanted = min(left, size - len(found))
            data = os.pread(self._descriptor, wanted, at) or bytes(wanted)
            found += data
            if len(data) < left:
                self._parts.append(Part(at + len(data), left - len(data)))
        self.digest.update(found)
        return bytes(found)
