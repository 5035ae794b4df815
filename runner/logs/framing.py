"""The bytes of a log file: a header, then frames one behind the other, only ever appended to.

    header   8 bytes: `RUNLOG`, then the version as two digits
    frame    u8 kind (1 stdout, 2 stderr; 8 is added in all but the last of the frames that one write has become) and flags (see
             `Frame`) · u24 size of the padding · u32 length of the data · u32 length of the secret · f64 time in seconds since
             the epoch · u64 offset of its first byte in its stream · u64 how much its source has written up to here · u32
             CRC-32 of the 36 bytes before, the data and the secret · data · secret, sealed · padding, zero: the room that a
             redaction left, so that no frame has moved

Numbers are little endian. A frame that the end of the file cuts short, or whose checksum is wrong and that nothing follows, was
being written when its writer died: it does not count, nor do those of the same write. Any other damage is an error.
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

FILE_HEADER = b"RUNLOG02"
FRAME_HEADER_BYTES = 40
LONGEST_DATA_BYTES = 1 << 20
LONGEST_SECRET_BYTES = 64 << 20

_FIELDS = struct.Struct("<IIIdQQ")
_CHECKSUM = struct.Struct("<I")
_KINDS: dict[Stream, int] = {"stdout": 1, "stderr": 2}
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_MORE = 8
_HOP_BYTES = 4 << 10


class Head(NamedTuple):
    """What a frame's header says; `start` and `end` are places in the file."""

    start: int
    end: int
    stream: Stream
    offset: int
    length: int
    secret_length: int
    at: float
    taken: int
    """How much the source of the stream had written up to here."""
    flags: int
    """What the writer wants to know when it goes on, 4 bits."""
    more: bool
    """The next frame belongs to the same write."""
    checksum: int
    fields: bytes


class Content(NamedTuple):
    data: bytes
    secret: bytes = b""
    """Sealed."""


def encode(head: Head, content: Content) -> bytes:
    """One frame; the lengths and the checksum of `head` are not looked at, and its room is filled up with padding."""
    size = len(content.data) + len(content.secret)
    padding = max(0, head.end - head.start - FRAME_HEADER_BYTES - size)
    kind = _KINDS[head.stream] | _MORE * head.more | head.flags << 4 | padding << 8
    fields = _FIELDS.pack(kind, len(content.data), len(content.secret), head.at, head.offset, head.taken)
    return fields + _CHECKSUM.pack(_crc(fields, *content)) + content.data + content.secret + bytes(padding)


def head(stream: Stream, offset: int, at: float, taken: int, flags: int, *, more: bool = False) -> Head:
    """Of a new frame, which has no place yet."""
    return Head(0, 0, stream, offset, 0, 0, at, taken, flags, more, 0, b"")


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
        """As `content`, without the secret."""
        content = self.content(head)
        return None if content is None else content.data

    def content(self, head: Head) -> Content | None:
        """What a frame holds; None when it is the last frame and torn. Raises StoreCorruptError."""
        held = os.pread(self.descriptor, head.length + head.secret_length, head.start + FRAME_HEADER_BYTES)
        if _crc(head.fields, held) == head.checksum:
            return Content(held[: head.length], held[head.length :]) if head.secret_length else Content(held)
        if head.end >= self.size:
            return None
        raise StoreCorruptError(f"{self.name} is damaged at byte {head.start}")

    def _head(self, raw: bytes, position: int) -> Head | None:
        fields = raw[: _FIELDS.size]
        kind, length, secret_length, at, offset, taken = _FIELDS.unpack(fields)
        stream, flags, padding = _STREAMS.get(kind & 7), kind >> 4 & 15, kind >> 8
        if stream is not None and length + padding <= LONGEST_DATA_BYTES and secret_length <= LONGEST_SECRET_BYTES:
            end = position + FRAME_HEADER_BYTES + length + secret_length + padding
            (checksum,) = _CHECKSUM.unpack(raw[_FIELDS.size :])
            more = bool(kind & _MORE)
            return Head(position, end, stream, offset, length, secret_length, at, taken, flags, more, checksum, fields)
        if self.size - position <= FRAME_HEADER_BYTES + LONGEST_DATA_BYTES:
            return None  # what a loss of power leaves of a last frame may be anything
        raise StoreCorruptError(f"{self.name} is damaged at byte {position}")


def frame(head: Head, data: bytes) -> Frame:
    return Frame(stream=head.stream, offset=head.offset, data=data, at=head.at, position=head.end)


def _crc(*parts: bytes) -> int:
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value
