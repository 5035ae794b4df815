"""How far a log has been read, so that whoever comes to its end is told of a stream whose own end is not kept: no frame behind
the gap does that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.model.log import Frame, LogGap, Stream


class Ends:
    """Of one reading of one log."""

    def __init__(self, stream: Stream | None = None, offset: int = 0, position: int = 0) -> None:
        """It is of one `stream`, perhaps from an offset on, or of both; behind `position`."""
        self._stream = stream
        self._offsets: dict[Stream, int] = {} if stream is None else {stream: offset}
        self._position = position
        self._at = 0.0

    def take(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._offsets[frame.stream] = frame.offset + len(frame.data)
            self._position, self._at = frame.position, frame.at

    def lost(self, gaps: Iterable[LogGap]) -> Sequence[Frame]:
        """For each stream that goes on in a gap and not behind it, a frame without data that says how much is missing. It stands
        at the place of the last frame."""
        return [
            gap.as_frame(self._at, self._position)
            for gap in gaps
            if self._stream in (None, gap.stream) and gap.offset + gap.bytes > self._offsets.get(gap.stream, 0)
        ]
