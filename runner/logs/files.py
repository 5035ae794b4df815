"""The log store on disk: one file for each attempt, `<folder>/<group>/<task>.<attempt>.log` (see `framing` for its bytes)."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from runner.logs import framing, rewriting
from runner.logs.sink import CallSoon, Growth, MaskingSink
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Frame, LogSink, Redaction, Stream

_LONGEST_NAME_BYTES = 200  # of the 255 that a file name may have
_REMEMBERED_PLACES = 256


class FileLogStore:
    """Implements runner.logs.base.LogStore. A position is a place in the file. Files are 0600, folders 0700.

    Writes reach the operating system at once, one call each, and are not synced: a log survives the runner's death, not
    every loss of power. Raises OSError where the disk does not do what it is asked, and StoreCorruptError.
    """

    def __init__(
        self, folder: Path | str, *, now: Callable[[], float] = time.time, call_soon: CallSoon | None = None
    ) -> None:
        """`now` in seconds since the epoch; `call_soon` as in `Growth`."""
        self._folder = Path(folder)
        self._now = now
        self._growth = Growth(call_soon)
        self._writers: dict[AttemptId, _Writer] = {}
        self._places: OrderedDict[tuple[AttemptId, Stream], tuple[int, int]] = OrderedDict()
        """(offset in the stream, position of a frame that begins there or before): where readers were last."""

    def open(self, id: AttemptId, masker: Masker) -> LogSink:
        writer = self._writers.get(id)
        if writer is None:
            writer = self._writers[id] = _Writer(partial(self._path, id))
        writer.users += 1

        def append(stream: Stream, data: bytes) -> None:
            writer.append(stream, data, self._now())
            self._growth.note(id)

        def closed() -> None:
            writer.users -= 1
            if not writer.users and self._writers.get(id) is writer:
                del self._writers[id]
                writer.close()

        return MaskingSink(masker, append, closed)

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
                found.append(framing.frame(head, data))
        return found

    def read(self, id: AttemptId, stream: Stream, offset: int = 0, limit: int = 1 << 20) -> bytes:
        known, position = self._places.pop((id, stream), (0, 0))
        if known > offset:
            position = 0
        found = bytearray()
        with self._reading(id) as reader:
            for head in reader.heads(position) if reader else ():
                if len(found) >= limit:
                    break
                if head.stream != stream or head.offset + head.length <= offset:
                    continue
                data = reader.data(head) if reader else None
                if data is None:
                    break
                found += data[max(0, offset - head.offset) :]
                self._remember(id, stream, head)
        return bytes(found[:limit])

    def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]:
        path = self._path(id)
        with self._reading(id) as reader:
            told = rewriting.redact(reader, path, masker) if reader else []
        if told:
            writer = self._writers.get(id)
            if writer is not None:
                writer.reopen()
            for stream in STREAMS:
                self._places.pop((id, stream), None)
        return told

    def subscribe(self, callback: Callable[[AttemptId], None]) -> Callable[[], None]:
        return self._growth.subscribe(callback)

    def delete_group(self, group: str) -> None:
        for id in [id for id in self._writers if id.group == group]:
            self._writers.pop(id).close()
        for key in [key for key in self._places if key[0].group == group]:
            del self._places[key]
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / _file_name(group))

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _path(self, id: AttemptId) -> Path:
        return self._folder / _file_name(id.group) / f"{_file_name(id.task)}.{id.attempt}.log"

    def _remember(self, id: AttemptId, stream: Stream, head: framing.Head) -> None:
        self._places[id, stream] = (head.offset, head.start)
        self._places.move_to_end((id, stream))
        if len(self._places) > _REMEMBERED_PLACES:
            self._places.popitem(last=False)

    @contextmanager
    def _reading(self, id: AttemptId) -> Iterator[framing.Reader | None]:
        path = self._path(id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield None
            return
        try:
            yield framing.Reader(descriptor, str(path))
        finally:
            os.close(descriptor)


class _Writer:
    """Appends to one file, made with the first write."""

    def __init__(self, find_path: Callable[[], Path]) -> None:
        self.users = 0
        self._find_path = find_path
        self._descriptor: int | None = None
        self._closed = False
        self._offsets: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._end = 0

    def append(self, stream: Stream, data: bytes, at: float) -> None:
        if self._closed:
            return
        if self._descriptor is None:
            self._descriptor = self._opened()
        for start in range(0, len(data), framing.LONGEST_DATA_BYTES):
            piece = data[start : start + framing.LONGEST_DATA_BYTES]
            encoded = framing.encode(stream, self._offsets[stream], piece, at)
            self._write(self._descriptor, encoded if self._end else framing.FILE_HEADER + encoded)
            self._offsets[stream] += len(piece)

    def close(self) -> None:
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def reopen(self) -> None:
        """The file was replaced: go on in the new one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._offsets = dict.fromkeys(self._offsets, 0)

    def _write(self, descriptor: int, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # the disk takes a part when it is nearly full; the next call says why
                written += os.write(descriptor, data[written:] if written else data)
        except OSError:
            os.ftruncate(descriptor, self._end)
            raise
        self._end += written

    def _opened(self) -> int:
        path = self._find_path()
        for folder in (path.parent.parent, path.parent):  # `mkdir` gives the mode to the last one alone
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            self._continue(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _continue(self, descriptor: int, path: Path) -> None:
        """Go on behind the last whole frame."""
        reader = framing.Reader(descriptor, str(path))
        last = None
        for head in reader.heads(0):
            self._offsets[head.stream] = head.offset + head.length
            last = head
        end = last.end if last else min(reader.size, len(framing.FILE_HEADER))
        if last is not None and reader.data(last) is None:
            self._offsets[last.stream] = last.offset
            end = last.start
        self._end = end if end >= len(framing.FILE_HEADER) else 0
        if self._end < reader.size:
            os.ftruncate(descriptor, self._end)


def _file_name(text: str) -> str:
    """A file name for any text: its own where that is harmless, different for different texts."""
    name = quote(text, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _LONGEST_NAME_BYTES:
        return name or "%"
    return name[: _LONGEST_NAME_BYTES - 33] + "~" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
