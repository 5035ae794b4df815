"""The bytes of a log file: a header, then frames one behind the other, only ever appended to.

    header   8 bytes: `RUNLOG`, then the version as two digits
    frame    u8 kind (1 stdout, 2 stderr) · u24 size of the padding · u32 length of the data · f64 time in seconds since the
             epoch · u64 offset of its first byte in its stream · u32 CRC-32 of the 24 bytes before and of the data · data ·
             padding, zero: the room that a redaction left, so that no frame has moved

Numbers are little endian. A frame that the end of the file cuts short, or whose checksum is wrong and that nothing follows, was
being written when its writer died: it does not count. Any other damage is an error.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from runner.errors import StoreCorruptError
from runner.model.log import Frame, Stream

FILE_HEADER = b"RUNLOG01"
FRAME_HEADER_BYTES = 28
LONGEST_DATA_BYTES = 1 << 20

_FIELDS = struct.Struct("<IIdQ")
_CHECKSUM = struct.Struct("<I")
_KINDS: dict[Stream, int] = {"stdout": 1, "stderr": 2}
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_HOP_BYTES = 4 << 10


class Head(NamedTuple):
    """What a frame's header says; `start` and `end` are places in the file."""

    start: int
    end: int
    stream: Stream
    offset: int
    length: int
    at: float
    checksum: int
    fields: bytes


def encode(stream: Stream, offset: int, data: bytes, at: float, padding: int = 0) -> bytes:
    """One frame. `data` and `padding` have together at most LONGEST_DATA_BYTES."""
    fields = _FIELDS.pack(_KINDS[stream] | padding << 8, len(data), at, offset)
    return fields + _CHECKSUM.pack(zlib.crc32(data, zlib.crc32(fields))) + data + bytes(padding)


@dataclass(slots=True)
class Reader:
    """Reads one open log file. Memory is bounded by what is asked for, never by the file."""

    descriptor: int
    name: str
    """For errors."""
    size: int = 0

    def __post_init__(self) -> None:
        self.size = os.fstat(self.descriptor).st_size
        header = os.pread(self.descriptor, len(FILE_HEADER), 0)
        if header != FILE_HEADER[: len(header)]:
            raise StoreCorruptError(f"{self.name} is not a log of this version")

    def heads(self, position: int) -> Iterator[Head]:
        """The headers of the frames from `position` on; the data is skipped, so only the last frame's can be missing."""
        window, begin = b"", position
        position = max(position, len(FILE_HEADER))
        while position + FRAME_HEADER_BYTES <= self.size:
            if not begin <= position <= begin + len(window) - FRAME_HEADER_BYTES:
                window, begin = os.pread(self.descriptor, _HOP_BYTES, position), position
                if len(window) < FRAME_HEADER_BYTES:
                    return
            head = self._head(window[position - begin : position - begin + FRAME_HEADER_BYTES], position)
            if head is None or head.end > self.size:
                return
            yield head
            position = head.end

    def data(self, head: Head) -> bytes | None:
        """A frame's data; None when it is the last frame and torn. Raises StoreCorruptError."""
        data = os.pread(self.descriptor, head.length, head.start + FRAME_HEADER_BYTES)
        if zlib.crc32(data, zlib.crc32(head.fields)) == head.checksum:
            return data
        if head.end >= self.size:
            return None
        raise StoreCorruptError(f"{self.name} is damaged at byte {head.start}")

    def _head(self, raw: bytes, position: int) -> Head | None:
        fields = raw[: _FIELDS.size]
        kind, length, at, offset = _FIELDS.unpack(fields)
        stream, room = _STREAMS.get(kind & 0xFF), length + (kind >> 8)
        end = position + FRAME_HEADER_BYTES + room
        if stream is not None and 0 < room <= LONGEST_DATA_BYTES:
            (checksum,) = _CHECKSUM.unpack(raw[_FIELDS.size :])
            return Head(position, end, stream, offset, length, at, checksum, fields)
        if self.size - position <= FRAME_HEADER_BYTES + LONGEST_DATA_BYTES:
            return None  # what a loss of power leaves of a last frame may be anything
        raise StoreCorruptError(f"{self.name} is damaged at byte {position}")


def frame(head: Head, data: bytes) -> Frame:
    return Frame(stream=head.stream, offset=head.offset, data=data, at=head.at, position=head.end)
