"""A folder as a tar stream, piece by piece: memory is bounded whatever the folder holds."""

from __future__ import annotations

import fnmatch
import logging
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.errors import UsageError

PIECE_BYTES = 256 << 10
_BLOCK_BYTES = 512
_END = bytes(2 * _BLOCK_BYTES)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_log = logging.getLogger(__name__)


def pack(folder: Path, exclude: Sequence[str] = ()) -> Iterator[bytes]:
    """The tar (pax) of what is in `folder`, in pieces of about 256 KiB: files, folders and symbolic links to something within, with
    their permissions and times, and without their owners. Sockets, pipes, devices, and links that lead out, are skipped and told
    in the log.

    `exclude` are patterns as in a shell: one without `/` is compared with every name, one with it with the path from `folder`. What
    is below an excluded folder is excluded. Raises UsageError for what cannot be read.
    """
    pieces = bytearray()
    try:
        for part in _parts(Path(os.path.realpath(folder)), exclude):
            pieces += part
            if len(pieces) >= PIECE_BYTES:
                yield bytes(pieces)
                pieces.clear()
    except OSError as error:
        raise UsageError(
            f"the workspace {folder} cannot be read: {error.filename or ''}: {error.strerror}; "
            "make it readable, or leave it out with --exclude"
        ) from error
    yield bytes(pieces + _END)


def _parts(root: Path, exclude: Sequence[str]) -> Iterator[bytes]:
    if not root.is_dir():
        raise UsageError(f"the workspace {root} is not a folder; give one, or none for an empty workspace")
    folders = [""]
    while folders:
        inside = folders.pop()
        with os.scandir(root / inside) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = os.path.join(inside, entry.name)
            if _is_excluded(name, entry.name, exclude):
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield _header(name, status, tarfile.DIRTYPE)
                folders.append(name)
            elif stat.S_ISREG(status.st_mode):
                yield from _file(root, name)
            elif stat.S_ISLNK(status.st_mode) and _leads_within(root, name):
                yield _header(name, status, tarfile.SYMTYPE, link=os.readlink(root / name))
            else:
                kind = "a link that leads out of it" if stat.S_ISLNK(status.st_mode) else "no file, folder or link"
                extra = {"action": "workspace_entry_skipped"}
                _log.warning("%s is not in the workspace: it is %s", root / name, kind, extra=extra)


def _file(root: Path, name: str) -> Iterator[bytes]:
    descriptor = os.open(root / name, _FILE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return  # replaced since it was looked at
        yield _header(name, status, tarfile.REGTYPE)
        left = status.st_size
        while left:
            data = os.read(descriptor, min(left, PIECE_BYTES))
            if not data:
                raise UsageError(f"{root / name} became shorter while it was sent; try again when nobody writes to it")
            left -= len(data)
            yield data
        yield bytes(-status.st_size % _BLOCK_BYTES)
    finally:
        os.close(descriptor)


def _header(name: str, status: os.stat_result, kind: bytes, *, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = stat.S_IMODE(status.st_mode) & 0o777
    info.mtime = int(status.st_mtime)
    info.size = status.st_size if kind == tarfile.REGTYPE else 0
    info.linkname = link
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _is_excluded(path: str, name: str, exclude: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(path, pattern.strip("/"))
        if "/" in pattern.strip("/")
        else fnmatch.fnmatchcase(name, pattern.strip("/"))
        for pattern in exclude
    )


def _leads_within(root: Path, name: str) -> bool:
    """By its own text, as whoever unpacks it will see it: what it leads to need not be there."""
    target = os.readlink(root / name)
    if os.path.isabs(target):
        return False
    place = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return place != ".." and not place.startswith("../")
