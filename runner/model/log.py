"""A task's output as it travels: streams, sinks, frames."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Stream = Literal["stdout", "stderr"]
LEAST_LOG_LIMIT_BYTES = 64 << 10
"""With less there would be nothing left worth the name of a head and a tail."""

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

    def limit(self, bytes: int) -> None:
        """Keep about so many bytes of the log in all, whatever else was set; 0 for all of it. To be called before the first
        write, in each life of the runner. A longer log keeps its head and its tail, about a quarter of that each at least."""

    @property
    def shortened(self) -> bool:
        """Whether the log has passed its limit, in a former life of the runner too. To be asked after `close`."""

    def close(self) -> None:
        """No more will come; what was held back for masking is written out. May be repeated."""


class Redaction(Struct, frozen=True, kw_only=True):
    """What was hidden afterwards in one stream of a log: so many marks were set, the first at `offset`. What lies before it is
    where it was; what lies behind has moved, so whoever keeps an offset behind it reads again from there."""

    stream: Stream
    marks: int
    offset: int

    def after(self, former: Redaction | None) -> Redaction:
        """Both in one, where something was hidden in the stream before."""
        if former is None:
            return self
        return Redaction(stream=self.stream, marks=former.marks + self.marks, offset=min(former.offset, self.offset))


class LogGap(Struct, frozen=True, kw_only=True):
    """What is not kept of one stream, because the log has passed its limit: so many bytes from `offset` on. Offsets behind them
    count them. A log has one gap at most in each stream, which only grows while the log is written."""

    stream: Stream
    offset: int
    bytes: int

    def as_frame(self, at: float = 0.0, position: int = 0) -> Frame:
        """One without data that stands right behind it, where nothing else does."""
        end = self.offset + self.bytes
        return Frame(stream=self.stream, offset=end, data=b"", at=at, position=position, missing=self.bytes)


class Frame(Struct, frozen=True, kw_only=True):
    """A piece of a stream. `offset` is where it begins in its stream, in bytes as stored; `position` is the place behind
    this frame in its log; `at` is when it was written, in seconds since the epoch; `missing` is how many bytes of its stream
    stood right before it and are not kept."""

    stream: Stream
    offset: int
    data: bytes
    at: float
    position: int
    missing: int = 0
