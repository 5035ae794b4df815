"""The contract of the log store.

A log belongs to one attempt. It is a list of *frames* in the order of their arrival; a frame is a piece of one stream, masked.
An *offset* counts bytes of one stream as stored; a *position* is an opaque, growing number of a place between two frames.
Logs are read while they are written. What a `LogReader` has may be called in any thread, at any time; all else from one
thread, unless a method says otherwise.

What a read costs is what it returns, wherever that stands. Only the first one at an offset far behind all that was read before
may have to look through what stands between, for seconds in a log of a gigabyte: whoever serves many does that in a thread.

A log that passes its limit (the store's, or what `LogSink.limit` says; both streams together, as they are kept) keeps its head
and its tail. What stood between is a *gap*: it has its offsets and positions, but no bytes. Whoever stands at a position in it
goes on behind it, and learns from `gaps` alone of a stream of which nothing stands there. Where a store cannot drop anything it
keeps all, and says so in the runner's log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from runner.logs.copying import LogCopy
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import Frame, LogGap, LogSink, Redaction, Stream


class LogReader(Protocol):
    def frames(self, id: AttemptId, after: int = 0, limit_bytes: int = 1 << 20) -> Sequence[Frame]:
        """Whole frames behind the position `after`, at least one if there is one, together about `limit_bytes`. The first
        one of a stream behind a gap says how much is missing."""

    def read(self, id: AttemptId, stream: Stream, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """At most `limit` bytes of one stream from `offset`; empty at the end. Nothing from behind a gap is joined to what
        stands before it. Raises LogGapError for an offset in a gap, with the offset where it ends."""

    def place(self, id: AttemptId, stream: Stream, offset: int) -> int:
        """A position from which on `frames` gives the byte at this offset first of all of its stream, perhaps in the middle of a
        frame; of an offset that is not reached yet, the end. Raises LogGapError as `read` does."""

    def gaps(self, id: AttemptId) -> Sequence[LogGap]:
        """What is not kept, by stream; empty for a log that is whole."""


class LogStore(LogReader, Protocol):
    def open(self, id: AttemptId, masker: Masker) -> LogSink:
        """Continue the attempt's log, or begin it. An attempt that writes nothing leaves nothing behind."""

    def copy(self, id: AttemptId) -> LogCopy:
        """Continue the log of an attempt that runs elsewhere, or begin it. Its limit is kept as that of every other."""

    def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]:
        """Mask again what is stored, with needles that were not known when it came; told for each stream that has ever been
        changed so, all of it in one: who was killed before he could tell what came of a call learns it from the next.

        The streams become what they would be had the marks been set at once; all or nothing of that is seen, also after a
        crash. Positions stay what they were, offsets behind the first mark do not: see `Redaction`. What a mark has
        swallowed before is gone, so a value that overlaps one is not found whole. Of a value that a gap has cut, a beginning
        or an end that is long enough to be a value itself is masked too. May be called in another thread while
        this one reads, and while nobody writes this log.
        """

    def subscribe(self, callback: Callable[[AttemptId], None]) -> Callable[[], None]:
        """Call `callback` whenever a log of this process has grown, at most once per turn of the loop and log; the returned
        function ends that."""

    @property
    def written(self) -> int:
        """How many bytes of what tasks print were written to logs since this was made."""

    def size(self, group: str) -> int:
        """How many bytes the logs of a group take where they are kept, about. May be called from any thread."""

    def delete_group(self, group: str) -> None:
        """Remove all logs of a group: nobody sees any of them again. Takes no time; what is left of them is for `purge`."""

    def purge(self) -> None:
        """Give back what the logs of deleted groups take. May take long, and may be called from any thread."""

    def close(self) -> None:
        """Idempotent."""
