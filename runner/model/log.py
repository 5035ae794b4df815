"""A task's output as it travels: streams, sinks, frames."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class LogSink(Protocol):
    """Where an attempt's output goes. What arrives here is masked before anything else sees it."""

    def write(self, stream: Stream, data: bytes, end: int | None = None) -> None:
        """Append. Cheap, keeps invalid UTF-8 as it is. Ignored after `close`.

        On return the data is kept, whatever becomes of this process. `end`: how much its source has written in all up to
        here, for one that can tell it again.
        """

    def foresee(self, stream: Stream, data: bytes) -> None:
        """What will be written next, as far as it is known: what it asks to mask is masked from now on, in all streams."""

    def taken(self, stream: Stream) -> int:
        """The last `end` that is kept, also of a former life of the runner; 0 if there was none. Raises OSError and
        StoreCorruptError."""

    def close(self) -> None:
        """No more will come; what was held back for masking is written out. May be repeated."""


class Redaction(Struct, frozen=True, kw_only=True):
    """What was hidden afterwards in one stream of a log: so many marks were set, the first at `offset`. What lies before it is
    where it was; what lies behind has moved, so whoever keeps an offset behind it reads again from there."""

    stream: Stream
    marks: int
    offset: int


class Frame(Struct, frozen=True, kw_only=True):
    """A piece of a stream. `offset` is where it begins in its stream, in bytes as stored; `position` is the place behind
    this frame in its log; `at` is when it was written, in seconds since the epoch."""

    stream: Stream
    offset: int
    data: bytes
    at: float
    position: int
