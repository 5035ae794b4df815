"""Appends to one log file, goes on in it where a former life of the runner has stopped, and keeps it below its limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from runner.errors import SealError, StoreCorruptError
from runner.logs import framing, rewriting
from runner.logs.holes import Holes
from runner.logs.limit import Allowance, Gap, Mark
from runner.logs.progress import ASKED, Progress, Told, Trail
from runner.logs.replacing import FileReplacement
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream
from runner.sealing import Sealer

_BEGINNING = Mark(len(framing.FILE_HEADER))
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_CARRIED_TEXTS = 1 << 10
"""So many of the texts that were asked to be masked are carried over a gap in one frame."""


class Writer:
    """Implements runner.logs.sink.Keeper and runner.logs.copying.CopyKeeper. The file is made with the first write.

    Sinks of one attempt share it; it ends with the last one.
    """

    def __init__(
        self,
        id: AttemptId,
        path: Callable[[AttemptId], Path],
        sealer: Sealer,
        now: Callable[[], float],
        holes: Holes,
        limit: int,
    ) -> None:
        self.users = 0
        self.on_append: Callable[[AttemptId, int], None] = lambda id, bytes: None
        self.on_close: Callable[[AttemptId], None] = lambda id: None
        self._id = id
        self._find_path = path
        self._sealer = sealer
        self._now = now
        self._descriptor: int | None = None
        self._closed = False
        self._offsets: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self._end = 0
        self._known: dict[Stream, Progress] = {}
        """How far each stream has come."""
        self._trails: dict[Stream, Trail] = {}
        self._asked: dict[Stream, dict[str, None]] = {}
        """All texts that were ever asked to be masked."""
        self._holes = holes
        self._limit = limit
        self._allowance = Allowance(limit, _BEGINNING)
        self._free_gap = 0

    def recall(self) -> Mapping[Stream, Progress]:
        if self._descriptor is not None or self._closed:
            return {}
        path = self._find_path(self._id)
        try:
            known = self._continue(os.open(path, _FLAGS))
        except FileNotFoundError:
            return {}
        rewriting.remove_draft(path)
        self._keep_to_limit()  # a former life may have ended before it did that, and nothing may follow
        return known

    def append(self, stream: Stream, data: bytes, progress: Progress) -> None:
        if self._closed:
            return
        if self._descriptor is None:
            self._continue(self._made())
        assert self._descriptor is not None
        self._put(self._descriptor, stream, data, progress)
        self._known[stream] = progress
        if progress.asked:
            self._asked.setdefault(stream, {}).update(dict.fromkeys(progress.asked))
        self._keep_to_limit()
        if data:
            self.on_append(self._id, len(data))

    def limit(self, bytes: int) -> None:
        self._limit = self._allowance.limit = bytes

    @property
    def shortened(self) -> bool:
        return self._allowance.gap is not None

    def close(self) -> None:
        self.users -= 1
        if self.users <= 0:
            self.abandon()
            self.on_close(self._id)

    def abandon(self) -> None:
        """Write no more, whoever may still want to."""
        self._closed = True
        self._let_go()

    def reopen(self) -> None:
        """The file was replaced: go on in the new one."""
        if self._descriptor is not None:
            self._let_go()
            self._continue(os.open(self._find_path(self._id), _FLAGS))

    def replacement(self) -> FileReplacement | None:
        """As `CopyKeeper.replacement`, for a log of which nothing is held back."""
        if self._descriptor is None:
            return None
        reader = framing.Reader(self._descriptor, f"the log of {self._id}")
        return FileReplacement(reader, self._find_path(self._id), self.reopen)

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _put(self, descriptor: int, stream: Stream, data: bytes, progress: Progress) -> None:
        """One write. That the source has been taken so far stands in the last frame: they count all or not at all."""
        trail = self._trails.pop(stream, None) or Trail()  # it is kept with what it has told
        longest = min(framing.LONGEST_DATA_BYTES, self._allowance.piece)
        pieces = [data[at : at + longest] for at in range(0, len(data), longest)] if len(data) > longest else [data]
        frames = list(self._frames(stream, pieces, trail.told(progress)))
        place = self._end or len(framing.FILE_HEADER)
        self._write(descriptor, b"".join(frames if self._end else (framing.FILE_HEADER, *frames)))
        self._trails[stream] = trail
        for frame, piece in zip(frames, pieces, strict=True):
            place += len(frame)
            self._offsets[stream] += len(piece)
            if place >= self._allowance.next_mark:
                self._allowance.note(Mark(place, *self._offsets.values()))

    def _frames(self, stream: Stream, pieces: Sequence[bytes], told: Told) -> Iterator[bytes]:
        at, offset = self._now(), self._offsets[stream]
        for piece in pieces[:-1]:
            yield framing.encode(framing.head(stream, offset, at, 0, 0, more=True), framing.Content(piece))
            offset += len(piece)
        content = framing.Content(pieces[-1], self._sealer.seal(told.secret, self._context) if told.secret else b"")
        yield framing.encode(framing.head(stream, offset, at, told.end, told.flags, continues=told.continues), content)

    def _write(self, descriptor: int, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # the disk takes a part when it is nearly full; the next call says why
                written += os.pwrite(descriptor, data[written:] if written else data, self._end + written)
        except OSError:
            os.ftruncate(descriptor, self._end)
            raise
        self._end += written

    def _keep_to_limit(self) -> None:
        gap = self._allowance.due(self._end)
        if gap is not None and self._descriptor is not None:
            with suppress(OSError):  # what is there stays; it is tried again with what follows
                self._give_up(self._descriptor, gap)

    def _give_up(self, descriptor: int, gap: Gap) -> None:
        """Keep nothing between the ends of `gap`. A reader sees all of it or none, wherever this is cut off."""
        if not self.shortened and not self._holes.possible(descriptor):
            self._allowance.limit = 0
            return
        before = self._end
        self._trails.clear()  # what stands before may be in the gap
        for stream, progress in self._known.items():
            for part in _parts(progress, tuple(self._asked.get(stream, ()))):
                self._put(descriptor, stream, b"", part)
        os.pwrite(descriptor, framing.encode_gap(gap), framing.gap_place(self._free_gap))
        self._free_gap = 1 - self._free_gap
        self._allowance.give_up(gap, self._end - before, self._end)
        # All of it each time, so that the file system's blocks at former ends go too.
        self._holes.make(descriptor, gap.begin.place, gap.end.place)

    def _made(self) -> int:
        path = self._find_path(self._id)
        for folder in (path.parent.parent, path.parent):  # `mkdir` gives the mode to the last one alone
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, _FLAGS | os.O_CREAT, 0o600)

    def _continue(self, descriptor: int) -> Mapping[Stream, Progress]:
        """Go on behind the last whole write; how far each stream has come there. Takes over the descriptor."""
        try:
            reader = framing.Reader(descriptor, f"the log of {self._id}")
            self._allowance = Allowance(self._limit, _BEGINNING, reader.gap)
            kept = _Kept.of(reader, self._allowance)
            if kept.end < reader.size:
                os.ftruncate(descriptor, kept.end)
            known = {
                stream: Progress.of([self._told(reader, head) for head in heads])
                for stream, heads in kept.telling.items()
            }
            asked: dict[Stream, list[str]] = {}
            for head in kept.asking:
                texts = Progress.of([self._told(reader, head)._replace(continues=False)]).asked
                asked.setdefault(head.stream, []).extend(texts)
            for stream, all_texts in asked.items():
                known[stream] = known[stream].also(all_texts)
        except BaseException:
            os.close(descriptor)
            raise
        if reader.gap is not None:  # a former life may have ended before it gave the room back
            self._holes.make(descriptor, reader.gap.begin.place, reader.gap.end.place)
        self._descriptor = descriptor
        self._end = kept.end
        self._known = known
        self._trails.clear()
        self._asked = {stream: dict.fromkeys(progress.asked) for stream, progress in known.items()}
        self._free_gap = reader.free_gap
        self._offsets = kept.offsets
        return known

    def _told(self, reader: framing.Reader, head: framing.Head) -> Told:
        content = reader.content(head)
        if content is None:
            raise StoreCorruptError(f"{reader.name} is damaged at byte {head.start}")
        try:
            secret = self._sealer.unseal(content.secret, self._context) if content.secret else b""
        except SealError as error:
            raise StoreCorruptError(f"{reader.name}: {error.message}") from error
        return Told(head.taken, head.flags, secret, head.continues)

    @property
    def _context(self) -> str:
        return log_context(self._id)


def log_context(id: AttemptId) -> str:
    """What is held back of an attempt's output is sealed for this."""
    return f"log {id}"


def _parts(progress: Progress, asked: Sequence[str]) -> Iterator[Progress]:
    """`progress` with all that was `asked`, which may be too much for one frame. The last of a stream's frames says how far it
    is; what was asked is read from all of them."""
    for start in range(0, len(asked) or 1, _CARRIED_TEXTS):
        yield progress._replace(asked=tuple(asked[start : start + _CARRIED_TEXTS]))


class _Kept(Struct):
    """What counts in a file: the last frames of each stream, from one on that tells all that is held back; and those in which
    something was asked to be masked."""

    telling: dict[Stream, list[framing.Head]] = {}
    asking: list[framing.Head] = []
    end: int = 0
    gap: Gap | None = None

    @classmethod
    def of(cls, reader: framing.Reader, allowance: Allowance) -> _Kept:
        """`allowance` is told where the file can be cut."""
        kept = cls(end=len(framing.FILE_HEADER) if reader.size >= len(framing.FILE_HEADER) else 0, gap=reader.gap)
        newest: framing.Head | None = None
        former: list[framing.Head] = []
        former_count, former_end = 0, kept.end
        offsets = dict.fromkeys(STREAMS, 0)
        for head in reader.heads(0):
            if kept.gap is not None and head.start == kept.gap.end.place:
                offsets = {stream: kept.gap.end.offset(stream) for stream in STREAMS}
            if head.start >= allowance.next_mark:
                allowance.note(Mark(head.start, *offsets.values()))
            offsets[head.stream] = head.offset + head.length
            if not head.more:
                former = kept.telling.setdefault(head.stream, [])
                newest, former_count, former_end = head, len(former), kept.end
                if head.continues:
                    former.append(head)
                else:
                    kept.telling[head.stream] = [head]
                kept.end = head.end
                if head.flags & ASKED:
                    kept.asking.append(head)
        if newest is not None and reader.content(newest) is None:
            kept.end = former_end
            kept.asking = [head for head in kept.asking if head is not newest]
            kept.telling[newest.stream] = former[:former_count]
        kept.telling = {stream: heads for stream, heads in kept.telling.items() if heads}
        if kept.gap is not None:  # what follows never comes to lie in it, whatever a loss of power has left
            kept.end = max(kept.end, kept.gap.end.place)
        allowance.forget(kept.end)
        return kept

    @property
    def offsets(self) -> dict[Stream, int]:
        """Where each stream goes on."""
        ends = {stream: self.gap.end.offset(stream) if self.gap else 0 for stream in STREAMS}
        for stream, heads in self.telling.items():
            ends[stream] = max(ends[stream], heads[-1].offset + heads[-1].length)
        return ends
