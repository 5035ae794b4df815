"""The bytes of a log file: a header, then frames one behind the other, only ever appended to.

    header   8 bytes: `RUNLOG`, then the version as two digits · twice a gap · what was masked afterwards
    gap      what is not kept, all zero where nothing is missing: u64 place in the file where it begins · u64 offset in stdout there ·
             u64 offset in stderr there · the same three of where it ends · u32 CRC-32 of the 48 bytes before
    masked   all zero where nothing was: u64 marks in stdout · u64 offset of the first of them · the same two of stderr · u32 CRC-32
             of the 32 bytes before. Written with the file that takes the place of the one that is masked again
    frame    u8 kind (1 stdout, 2 stderr; 4 is added where the secret goes on from that of the stream's frame before; 8 in all but
             the last of the frames that one write has become) and flags (see `Head`) · u24 size of the padding · u32 length of
             the data · u32 length of the secret · f64 time in seconds since the epoch · u64 offset of its first byte in its
             stream · u64 how much its source has written up to here · u32 CRC-32 of the 36 bytes before, the data and the
             secret · data · secret, sealed · padding, zero: the room that a redaction left, so that no frame has moved

Numbers are little endian. The gap that ends last counts; the other one is written next, so that one of them is whole whenever the
writer dies. Once it is, the room between its ends is given back: it reads as zeros and takes no room on the disk, and a frame
that is kept stays where it is. A frame that the end of the file cuts short, or whose checksum is wrong and that nothing follows, was
being written when its writer died: it does not count, nor do those of the same write. Any other damage is an error.
"""

from __future__ import annotations

import itertools
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from runner.errors import StoreCorruptError
from runner.logs.limit import Gap, Mark
from runner.model.log import STREAMS, Frame, Redaction, Stream

MAGIC = b"RUNLOG04"
GAP_BYTES = 52
MASKED_BYTES = 36
MASKED_PLACE = len(MAGIC) + 2 * GAP_BYTES
FILE_HEADER = MAGIC + bytes(2 * GAP_BYTES + MASKED_BYTES)
"""Of a log that is whole."""
FRAME_HEADER_BYTES = 40
LONGEST_DATA_BYTES = 1 << 20
LONGEST_SECRET_BYTES = 64 << 20

_FIELDS = struct.Struct("<IIIdQQ")
_SKIPPED = struct.Struct("<III8xQ").unpack_from
_CHECKSUM = struct.Struct("<I")
_GAP = struct.Struct("<QQQQQQ")
_MASKED = struct.Struct("<QQQQ")
_KINDS: dict[Stream, int] = {"stdout": 1, "stderr": 2}
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_STDOUT = _KINDS["stdout"]
_STREAM, _CONTINUES, _MORE = 3, 4, 8
_HOP_BYTES = 4 << 10
_MAY_BE_HEADER = re.compile(rb"(?=[^\0].{5}[\x00-\x10]\0.{3}[\x00-\x04].{28})", re.DOTALL)
"""Of a frame, by the lengths that it may have."""
_MOST_CANDIDATES = 4096
_MOST_CHECKED_BYTES = 16 << 20
"""What looks like frames may have been printed to keep us busy."""


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
    continues: bool = False
    """The secret says what has changed since the stream's frame before; else it says all."""


class Content(NamedTuple):
    data: bytes
    secret: bytes = b""
    """Sealed."""


def encode(head: Head, content: Content) -> bytes:
    """One frame; the lengths and the checksum of `head` are not looked at, and its room is filled up with padding."""
    size = len(content.data) + len(content.secret)
    padding = max(0, head.end - head.start - FRAME_HEADER_BYTES - size)
    kind = _KINDS[head.stream] | _CONTINUES * head.continues | _MORE * head.more | head.flags << 4 | padding << 8
    fields = _FIELDS.pack(kind, len(content.data), len(content.secret), head.at, head.offset, head.taken)
    return fields + _CHECKSUM.pack(_crc(fields, *content)) + content.data + content.secret + bytes(padding)


def encode_gap(gap: Gap) -> bytes:
    fields = _GAP.pack(*gap.begin, *gap.end)
    return fields + _CHECKSUM.pack(_crc(fields))


def gap_place(number: int) -> int:
    """Where in the file the first (0) or the second (1) gap stands."""
    return len(MAGIC) + number * GAP_BYTES


def decode_gaps(header: bytes) -> list[Gap | None]:
    """The two gaps of a file's header; None for one that says nothing, or is not whole."""
    return [_gap(header[gap_place(number) : gap_place(number + 1)]) for number in (0, 1)]


def _gap(raw: bytes) -> Gap | None:
    if len(raw) < GAP_BYTES or not any(raw):
        return None
    fields, checksum = raw[: _GAP.size], raw[_GAP.size :]
    if _CHECKSUM.pack(_crc(fields)) != checksum:
        return None
    numbers = _GAP.unpack(fields)
    return Gap(Mark(*numbers[:3]), Mark(*numbers[3:]))


def encode_masked(masked: Mapping[Stream, Redaction]) -> bytes:
    numbers = [
        number
        for stream in STREAMS
        for number in ((masked[stream].marks, masked[stream].offset) if stream in masked else (0, 0))
    ]
    fields = _MASKED.pack(*numbers)
    return fields + _CHECKSUM.pack(_crc(fields))


def _masked(raw: bytes) -> dict[Stream, Redaction]:
    """Raises ValueError where it is damaged."""
    if len(raw) < MASKED_BYTES or not any(raw):
        return {}
    fields, checksum = raw[: _MASKED.size], raw[_MASKED.size :]
    if _CHECKSUM.pack(_crc(fields)) != checksum:
        raise ValueError
    numbers = _MASKED.unpack(fields)
    return {
        stream: Redaction(stream=stream, marks=marks, offset=offset)
        for stream, marks, offset in zip(STREAMS, numbers[::2], numbers[1::2], strict=True)
        if marks
    }


def head(
    stream: Stream, offset: int, at: float, taken: int, flags: int, *, more: bool = False, continues: bool = False
) -> Head:
    """Of a new frame, which has no place yet."""
    return Head(0, 0, stream, offset, 0, 0, at, taken, flags, more, 0, b"", continues)


class Reader(Struct):
    """Reads one open log file. Memory is bounded by what is asked for, never by the file."""

    descriptor: int
    name: str
    """For errors."""
    size: int = 0
    inode: int = 0
    gap: Gap | None = None
    free_gap: int = 0
    """The number of the gap in the header that is to be written next."""

    def __post_init__(self) -> None:
        status = os.fstat(self.descriptor)
        self.size, self.inode = status.st_size, status.st_ino
        header = os.pread(self.descriptor, len(FILE_HEADER), 0)
        if header[: len(MAGIC)] != MAGIC[: len(header)]:
            raise StoreCorruptError(f"{self.name} is not a log of this version")
        self._know_gap(header)

    @property
    def masked(self) -> dict[Stream, Redaction]:
        """What was masked afterwards in it, as it was told. Raises StoreCorruptError."""
        try:
            return _masked(os.pread(self.descriptor, MASKED_BYTES, MASKED_PLACE))
        except ValueError:
            raise StoreCorruptError(f"{self.name} is damaged at byte {MASKED_PLACE}") from None

    def heads(self, position: int) -> Iterator[Head]:
        """The headers of the frames from `position` on, but for those of a write that has not come to its end: whoever was shown
        them would be shown them again. The data is skipped, so only the last frame's can be missing."""
        finished = 0
        """The end of a write that was looked through to its end."""
        for head in self._all_heads(position):
            if head.more and head.end > finished:
                finished = self._end_of_write(head)
                if not finished:
                    return
            yield head

    def _end_of_write(self, head: Head) -> int:
        """Where it ends, of which `head` is one of the first frames; 0 where it was cut off."""
        if self.gap is not None and head.end <= self.gap.begin.place:
            return head.end  # whatever stands before a gap was whole
        for last in self._all_heads(head.end):
            if not last.more:
                return 0 if last.end >= self.size and self.content(last) is None else last.end
        return 0

    def _all_heads(self, position: int) -> Iterator[Head]:
        window, begin = b"", position
        position = max(position, len(FILE_HEADER))
        while True:
            if self.gap is not None and self.gap.covers(position):
                position = self.gap.end.place
            if position + FRAME_HEADER_BYTES > self.size:
                return
            if not begin <= position <= begin + len(window) - FRAME_HEADER_BYTES:
                window, begin = os.pread(self.descriptor, _HOP_BYTES, position), position
                if len(window) < FRAME_HEADER_BYTES:
                    return
            head = self._head(window[position - begin : position - begin + FRAME_HEADER_BYTES], position)
            if head is not None and head.end <= self.size:
                yield head
                position = head.end
            elif self._was_given_up(position):
                window = b""
            elif head is None and self._goes_on_behind(position):
                raise StoreCorruptError(f"{self.name} is damaged at byte {position}")
            else:
                return  # what a loss of power leaves of a last frame may be anything

    def skip(self, begin: Mark, stream: Stream, offset: int, note: Callable[[Mark], int]) -> int | None:
        """From `begin`, where a write begins, to the frame that holds `offset`: its place, or that of anything before it that
        `heads` has to look at. None where no frame begins as `begin` says. `note` is told of places where a write begins, and
        says from which on it wants to hear of the next one.

        A quarter of what `heads` costs, for all that stands before what is wanted."""
        place, stdout, stderr = begin
        gap, fields = self.gap, _SKIPPED
        wanted = note(begin)
        window, base, last = b"", place, -1
        more = False
        while True:
            if gap is not None and gap.covers(place):
                place, stdout, stderr = gap.end
            at = place - base
            if not 0 <= at <= last:
                window, base = os.pread(self.descriptor, _HOP_BYTES, place), place
                at, last = 0, len(window) - FRAME_HEADER_BYTES
                if last < 0:
                    return place
            kind, length, secret_length, begins = fields(window, at)
            name = kind & _STREAM
            size = length + (kind >> 8)
            end = place + FRAME_HEADER_BYTES + size + secret_length
            if name not in _STREAMS or size > LONGEST_DATA_BYTES or end > self.size:
                return None if place == begin.place else place
            if begins != (stdout if name == _STDOUT else stderr):
                return None
            if place >= wanted and not more:
                wanted = note(Mark(place, stdout, stderr))
            more = bool(kind & _MORE)
            if begins + length > offset and _STREAMS[name] == stream:
                return place
            place = end
            if name == _STDOUT:
                stdout += length
            else:
                stderr += length

    def data(self, head: Head) -> bytes | None:
        """As `content`, without the secret."""
        content = self.content(head)
        return None if content is None else content.data

    def content(self, head: Head) -> Content | None:
        """What a frame holds; None when it is the last frame and torn, or in a gap since. Raises StoreCorruptError."""
        held = os.pread(self.descriptor, head.length + head.secret_length, head.start + FRAME_HEADER_BYTES)
        if _crc(head.fields, held) == head.checksum:
            return Content(held[: head.length], held[head.length :]) if head.secret_length else Content(held)
        if head.end >= self.size or self._was_given_up(head.start):
            return None
        raise StoreCorruptError(f"{self.name} is damaged at byte {head.start}")

    def check(self, stream: Stream, offset: int) -> None:
        """Raises LogGapError where nothing is kept of what stood there."""
        if self.gap is not None:
            self.gap.check(stream, offset)

    def _was_given_up(self, position: int) -> bool:
        """Whether what is there now is a gap that another process has made while this one reads."""
        self._know_gap(os.pread(self.descriptor, len(FILE_HEADER), 0))
        return self.gap is not None and self.gap.covers(position)

    def _goes_on_behind(self, position: int) -> bool:
        """Whether what is no header there cannot be the end of the file: more than a frame follows, or one that is whole."""
        if self.size - position > FRAME_HEADER_BYTES + LONGEST_DATA_BYTES:
            return True
        rest = memoryview(os.pread(self.descriptor, self.size - position, position))
        checked = 0
        for found in itertools.islice(_MAY_BE_HEADER.finditer(rest), _MOST_CANDIDATES):
            begin = found.start() + FRAME_HEADER_BYTES
            head = self._head(bytes(rest[found.start() : begin]), position + found.start())
            if head is None or head.end > self.size:
                continue
            held = rest[begin : begin + head.length + head.secret_length]
            checked += len(held)
            if _crc(head.fields, held) == head.checksum:
                return True
            if checked > _MOST_CHECKED_BYTES:
                break
        return False

    def _know_gap(self, header: bytes) -> None:
        one, other = decode_gaps(header)
        first = one is not None and (other is None or one.end.place > other.end.place)
        self.gap, self.free_gap = (one, 1) if first else (other, 0)

    def _head(self, raw: bytes, position: int) -> Head | None:
        """None for what is no header."""
        fields = raw[: _FIELDS.size]
        kind, length, secret_length, at, offset, taken = _FIELDS.unpack(fields)
        stream, flags, padding = _STREAMS.get(kind & _STREAM), kind >> 4 & 15, kind >> 8
        if stream is None or length + padding > LONGEST_DATA_BYTES or secret_length > LONGEST_SECRET_BYTES:
            return None
        end = position + FRAME_HEADER_BYTES + length + secret_length + padding
        (checksum,) = _CHECKSUM.unpack(raw[_FIELDS.size :])
        more, continues = bool(kind & _MORE), bool(kind & _CONTINUES)
        return Head(
            position, end, stream, offset, length, secret_length, at, taken, flags, more, checksum, fields, continues
        )


def frame(head: Head, data: bytes, gap: Gap | None) -> Frame:
    found = Frame(stream=head.stream, offset=head.offset, data=data, at=head.at, position=head.end)
    missing = gap.before(found) if gap is not None else 0
    return replace(found, missing=missing) if missing else found


def _crc(*parts: bytes | memoryview) -> int:
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value
