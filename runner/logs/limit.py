"""How much of a log is kept: its head and its tail, and between them a gap.

A log that passes its limit gives up what stands between its first quarter and its last one. So the gap grows seldom, a
half of the limit at a time, and what was written last is always there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from operator import itemgetter
from typing import NamedTuple

from runner.errors import LogGapError
from runner.model.log import STREAMS, Frame, LogGap, Stream

_PARTS = 4
"""The head and the tail are one of so many parts of the limit each."""
_MARKS = 32
"""So many places to cut at are known in what the limit allows: all that this costs in memory."""
_NO_MATTER = 1 << 62
_PLACE = itemgetter(0)


class Mark(NamedTuple):
    """A place between two frames of a log, and how much of each stream stands before it."""

    place: int
    stdout: int = 0
    stderr: int = 0

    def offset(self, stream: Stream) -> int:
        return self.stdout if stream == "stdout" else self.stderr


class Gap(NamedTuple):
    """What is not kept: all between two places. Where `end` is, the log goes on."""

    begin: Mark
    end: Mark

    def covers(self, place: int) -> bool:
        """Whether nothing is to be read at `place`."""
        return self.begin.place <= place < self.end.place

    def check(self, stream: Stream, offset: int) -> None:
        """Raises LogGapError where it hides what stands there."""
        end = self.end.offset(stream)
        if self.begin.offset(stream) <= offset < end:
            raise LogGapError(f"{end - offset:,} bytes of {stream} from offset {offset:,} on are not kept", end=end)

    def missing(self, stream: Stream) -> int:
        """How many bytes."""
        return self.end.offset(stream) - self.begin.offset(stream)

    def before(self, frame: Frame) -> int:
        """How many bytes of its stream are missing right before `frame`, which has data."""
        behind = frame.position > self.end.place and frame.offset == self.end.offset(frame.stream)
        return self.missing(frame.stream) if behind else 0

    def moved(self, stream: Stream, offset: int) -> Gap:
        """The same, beginning at another offset of one stream."""
        end = offset + self.missing(stream)
        if stream == "stdout":
            return Gap(self.begin._replace(stdout=offset), self.end._replace(stdout=end))
        return Gap(self.begin._replace(stderr=offset), self.end._replace(stderr=end))

    def told(self) -> list[LogGap]:
        """For each stream that misses something."""
        return [
            LogGap(stream=stream, offset=self.begin.offset(stream), bytes=self.missing(stream))
            for stream in STREAMS
            if self.missing(stream)
        ]


class Allowance:
    """What one log may take, and where it can be cut. Places are bytes of what is counted, a file's for a file."""

    def __init__(self, limit: int, begin: Mark, gap: Gap | None = None) -> None:
        """`limit` in bytes, 0 for none. `begin` is where the first frame begins; `gap` is the one that the log has already."""
        self.limit = limit
        self.gap = gap
        self._marks = [begin]
        """By growing place; those that are in the gap are not among them."""
        self._carried_until = 0
        self._carried = 0

    @property
    def piece(self) -> int:
        """No frame should have more data, in bytes, so that there are places to cut at."""
        return max(1, self.limit // _MARKS) if self.limit else _NO_MATTER

    @property
    def next_mark(self) -> float:
        """From which place on the next place to cut at is wanted."""
        return self._marks[-1].place + self.limit // _MARKS if self.limit else math.inf

    def note(self, mark: Mark) -> None:
        """Here the log can be cut. Marks come by growing place."""
        self._marks.append(mark)

    def forget(self, place: int) -> None:
        """The log was cut short at its end: nothing is behind `place`."""
        while len(self._marks) > 1 and self._marks[-1].place > place:
            self._marks.pop()

    def due(self, end: int) -> Gap | None:
        """The gap that is to be made, in a log that ends at `end` and has passed its limit; None while it has not."""
        limit, gap, marks = self.limit, self.gap, self._marks
        missing = gap.end.place - gap.begin.place if gap else 0
        # What has to be carried over a gap may be large itself: it is not written again before as much has come.
        if not limit or end - missing <= limit or end - self._carried_until < max(self._carried, limit // _PARTS):
            return None
        begin = gap.begin if gap else marks[self._before(limit // _PARTS)]
        tail = marks[self._before(end - limit // _PARTS)]
        return Gap(begin, tail) if tail.place > (gap.end if gap else begin).place else None

    def give_up(self, gap: Gap, carried: int, end: int) -> None:
        """The gap was made; `carried` bytes were written for it, up to `end`."""
        self.gap = gap
        self._marks = [mark for mark in self._marks if mark.place <= gap.begin.place or mark.place >= gap.end.place]
        self._carried, self._carried_until = carried, end

    def _before(self, place: int) -> int:
        """The last mark that is not behind `place`, else the first."""
        return max(0, bisect_right(self._marks, place, key=_PLACE) - 1)
