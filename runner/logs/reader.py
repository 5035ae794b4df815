"""Reads the log files of `files`, in whatever process: they are read while they are written."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from runner.logs import framing
from runner.logs.places import Places
from runner.model.dispatch import AttemptId
from runner.model.log import Frame, LogGap, Stream

_LONGEST_NAME_BYTES = 200  # of the 255 that a file name may have
_HARMLESS = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NAME_BYTES}}}")


class FileLogReader:
    """Implements runner.logs.base.LogReader. Takes no lock and changes nothing. Raises OSError where the disk does not do what it
    is asked, and StoreCorruptError."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._places = Places()

    def frames(self, id: AttemptId, after: int = 0, limit_bytes: int = 1 << 20) -> Sequence[Frame]:
        found: list[Frame] = []
        size = 0
        with self._reading(id) as reader:
            for head in reader.heads(after) if reader else ():
                if not head.length:
                    continue  # a redaction left nothing of it
                size += head.length
                if found and size > limit_bytes:
                    break
                data = reader.data(head) if reader else None
                if data is None:
                    break
                found.append(framing.frame(head, data, reader.gap if reader else None))
        return found

    def read(self, id: AttemptId, stream: Stream, offset: int = 0, limit: int = 1 << 20) -> bytes:
        found = bytearray()
        with self._reading(id) as reader:
            if reader is None:
                return b""
            reader.check(stream, offset)
            for head in reader.heads(self._places.of(id, reader.inode).place(reader, stream, offset)):
                if len(found) >= limit:
                    break
                if head.stream != stream or head.offset + head.length <= offset:
                    continue
                data = reader.data(head)
                if data is None or head.offset > offset + len(found):
                    break
                found += data[max(0, offset - head.offset) :]
            if not found:
                reader.check(stream, offset)  # a gap may have come meanwhile
        return bytes(found[:limit])

    def place(self, id: AttemptId, stream: Stream, offset: int) -> int:
        with self._reading(id) as reader:
            if reader is None:
                return 0
            reader.check(stream, offset)
            position = self._places.of(id, reader.inode).place(reader, stream, offset)
            for head in reader.heads(position):
                if head.stream == stream and head.offset + head.length > offset:
                    return head.start
                position = head.end
        return position

    def gaps(self, id: AttemptId) -> Sequence[LogGap]:
        with self._reading(id) as reader:
            return reader.gap.told() if reader and reader.gap else ()

    def _path(self, id: AttemptId) -> Path:
        return Path(self._file(id))

    def _file(self, id: AttemptId) -> str:
        """As `_path`; to make a Path takes longer than to find out that an attempt has printed nothing, as most have not."""
        return f"{self._folder}/{file_name(id.group)}/{file_name(id.task)}.{id.attempt}.log"

    @contextmanager
    def _reading(self, id: AttemptId) -> Iterator[framing.Reader | None]:
        path = self._file(id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield None
            return
        try:
            yield framing.Reader(descriptor, path)
        finally:
            os.close(descriptor)


def file_name(text: str) -> str:
    """A file name for any text: its own where that is harmless, different for different texts."""
    if _HARMLESS.fullmatch(text):
        return text
    name = quote(text, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _LONGEST_NAME_BYTES:
        return name or "%"
    return name[: _LONGEST_NAME_BYTES - 33] + "~" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
