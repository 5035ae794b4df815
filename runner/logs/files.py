"""The log store on disk: one file for each attempt, `<folder>/<group>/<task>.<attempt>.log` (see `framing` for its bytes)."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from runner.logs import framing, holes, rewriting
from runner.logs.sink import CallSoon, Growth, MaskingSink
from runner.logs.writing import Writer
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Frame, LogGap, LogSink, Redaction, Stream
from runner.sealing import Sealer

_LONGEST_NAME_BYTES = 200  # of the 255 that a file name may have
_REMEMBERED_PLACES = 256


class FileLogStore:
    """Implements runner.logs.base.LogStore. A position is a place in the file. Files are 0600, folders 0700.

    Writes reach the operating system at once, one call each, and are not synced: a log survives the runner's death, not
    every loss of power. Raises OSError where the disk does not do what it is asked, and StoreCorruptError.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        sealer: Sealer,
        limit: int = 0,
        now: Callable[[], float] = time.time,
        call_soon: CallSoon | None = None,
        punch: holes.Punch | None = None,
    ) -> None:
        """`sealer` for what is held back; `limit` in bytes of each log, 0 for none; `now` in seconds since the epoch;
        `call_soon` as in `Growth`; `punch` gives room back in place of the system's own way."""
        self._folder = Path(folder)
        self._sealer = sealer
        self._limit = limit
        self._now = now
        self._holes = holes.Holes(punch)
        self._growth = Growth(call_soon)
        self._writers: dict[AttemptId, Writer] = {}
        self._places: OrderedDict[tuple[AttemptId, Stream], tuple[int, int]] = OrderedDict()
        """(offset in the stream, position of a frame that begins there or before): where readers were last."""

    def open(self, id: AttemptId, masker: Masker) -> LogSink:
        writer = self._writers.get(id)
        if writer is None:
            writer = self._writers[id] = Writer(id, self._path, self._sealer, self._now, self._holes, self._limit)
            writer.on_append = self._growth.note
            writer.on_close = self._closed
        writer.users += 1
        return MaskingSink(masker, writer)

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
        known, position = self._places.pop((id, stream), (0, 0))
        if known > offset:
            position = 0
        found = bytearray()
        with self._reading(id) as reader:
            if reader is None:
                return b""
            reader.check(stream, offset)
            for head in reader.heads(position):
                if len(found) >= limit:
                    break
                if head.stream != stream or head.offset + head.length <= offset:
                    continue
                data = reader.data(head)
                if data is None or head.offset > offset + len(found):
                    break
                found += data[max(0, offset - head.offset) :]
                self._remember(id, stream, head)
            if not found:
                reader.check(stream, offset)  # a gap may have come meanwhile
        return bytes(found[:limit])

    def place(self, id: AttemptId, stream: Stream, offset: int) -> int:
        position = 0
        with self._reading(id) as reader:
            if reader is None:
                return position
            reader.check(stream, offset)
            for head in reader.heads(0):
                if head.stream == stream and head.offset + head.length > offset:
                    break
                position = head.end
        return position

    def gaps(self, id: AttemptId) -> Sequence[LogGap]:
        with self._reading(id) as reader:
            return reader.gap.told() if reader and reader.gap else ()

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
            self._writers.pop(id).abandon()
        for key in [key for key in self._places if key[0].group == group]:
            del self._places[key]
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / _file_name(group))

    def close(self) -> None:
        for writer in self._writers.values():
            writer.abandon()
        self._writers.clear()

    def _closed(self, id: AttemptId) -> None:
        self._writers.pop(id, None)

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


def _file_name(text: str) -> str:
    """A file name for any text: its own where that is harmless, different for different texts."""
    name = quote(text, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _LONGEST_NAME_BYTES:
        return name or "%"
    return name[: _LONGEST_NAME_BYTES - 33] + "~" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
