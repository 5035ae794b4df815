"""The log store that keeps everything in memory: for tests and for the simulator."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from msgspec.structs import replace

from runner.logs.copying import KeptCopy, LogCopy, Replacement
from runner.logs.limit import Allowance, Gap, Mark
from runner.logs.progress import Progress
from runner.logs.redaction import Redactor
from runner.logs.sink import CallSoon, Growth, MaskingSink
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Frame, LogGap, LogSink, Redaction, Stream

_BEGINNING = Mark(0)
_FRAME_BYTES = 40
"""What a frame counts for beside its data."""


@dataclass(slots=True)
class _Log:
    allowance: Allowance
    frames: list[Frame] = field(default_factory=list)
    progress: dict[Stream, Progress] = field(default_factory=dict)
    end: Mark = _BEGINNING
    masked: dict[Stream, Redaction] = field(default_factory=dict)
    """What was masked afterwards."""
    taken: dict[int, int] = field(default_factory=dict)
    """By positions of frames: how far their source was."""

    @property
    def gap(self) -> Gap | None:
        return self.allowance.gap

    def append(self, stream: Stream, data: bytes, at: float) -> None:
        position = self.end.place + _FRAME_BYTES + len(data)
        self.frames.append(Frame(stream=stream, offset=self.end.offset(stream), data=data, at=at, position=position))
        self._grew(self.frames[-1])

    def shorten(self) -> None:
        gap = self.allowance.due(self.end.place)
        if gap is not None:
            self.frames = [frame for frame in self.frames if not gap.begin.place < frame.position <= gap.end.place]
            self.allowance.give_up(gap, 0, self.end.place)

    def replace(self, frames: list[Frame], gap: Gap | None) -> None:
        """Other frames in the places of the present ones."""
        self.frames, self.allowance = frames, Allowance(self.allowance.limit, _BEGINNING, gap)
        self.end = _BEGINNING
        for frame in frames:
            if gap is not None and frame.position > gap.end.place >= self.end.place:
                self.end = gap.end
            self._grew(frame)

    def _grew(self, frame: Frame) -> None:
        stdout, stderr = self.end.stdout, self.end.stderr
        if frame.stream == "stdout":
            stdout += len(frame.data)
        else:
            stderr += len(frame.data)
        self.end = Mark(frame.position, stdout, stderr)
        if frame.position >= self.allowance.next_mark:
            self.allowance.note(self.end)


class MemoryLogStore:
    """Implements runner.logs.base.LogStore. A position counts the bytes before it, and some for each frame."""

    def __init__(
        self, *, limit: int = 0, now: Callable[[], float] = time.time, call_soon: CallSoon | None = None
    ) -> None:
        """`limit` in bytes of each log, 0 for none; `now` in seconds since the epoch; `call_soon` as in `Growth`, needed where
        no asyncio loop runs."""
        self._limit = limit
        self._now = now
        self._growth = Growth(call_soon)
        self._written = 0
        self._logs: dict[AttemptId, _Log] = {}
        self._lock = Lock()
        """Held by whoever reads or changes a log, for readers may be in other threads."""

    def open(self, id: AttemptId, masker: Masker) -> LogSink:
        return MaskingSink(masker, _Keeper(self, id, self._limit))

    def copy(self, id: AttemptId) -> LogCopy:
        return KeptCopy(_Keeper(self, id, self._limit))

    def known(self, id: AttemptId) -> Mapping[Stream, Progress]:
        """How far the streams have come; for the sinks of this store alone."""
        log = self._logs.get(id)
        return dict(log.progress) if log else {}

    def append(self, id: AttemptId, stream: Stream, data: bytes, progress: Progress, limit: int) -> None:
        """For the sinks of this store alone."""
        with self._lock:
            log = self._logs.get(id)
            if log is None:
                log = self._logs[id] = _Log(Allowance(limit, _BEGINNING))
            log.allowance.limit = limit
            former = log.progress.get(stream, Progress())
            log.progress[stream] = progress.also(former.asked)
            longest, at = log.allowance.piece, self._now()
            for start in range(0, len(data), longest):
                log.append(stream, data[start : start + longest], at)
            if data:
                log.taken[log.frames[-1].position] = progress.end
            log.shorten()
        if data:
            self._written += len(data)
            self._growth.note(id)

    @property
    def written(self) -> int:
        return self._written

    def frames(self, id: AttemptId, after: int = 0, limit_bytes: int = 1 << 20) -> Sequence[Frame]:
        frames, gap = self._snapshot(id)
        found: list[Frame] = []
        size = 0
        for frame in frames[bisect_right(frames, after, key=lambda frame: frame.position) :]:
            if not frame.data:
                continue  # a redaction left nothing of it
            size += len(frame.data)
            if found and size > limit_bytes:
                break
            found.append(replace(frame, missing=gap.before(frame)) if gap else frame)
        return found

    def read(self, id: AttemptId, stream: Stream, offset: int = 0, limit: int = 1 << 20) -> bytes:
        frames, gap = self._snapshot(id)
        if gap is not None:
            gap.check(stream, offset)
        frames = [frame for frame in frames if frame.stream == stream]
        first = max(0, bisect_right(frames, offset, key=lambda frame: frame.offset) - 1)
        data = bytearray()
        for frame in frames[first:]:
            if len(data) >= limit or frame.offset > offset + len(data):
                break
            data += frame.data[max(0, offset - frame.offset) :]
        return bytes(data[:limit])

    def place(self, id: AttemptId, stream: Stream, offset: int) -> int:
        frames, gap = self._snapshot(id)
        if gap is not None:
            gap.check(stream, offset)
        position = 0
        for frame in frames:
            if frame.stream == stream and frame.offset + len(frame.data) > offset:
                break
            position = frame.position
        return position

    def gaps(self, id: AttemptId) -> Sequence[LogGap]:
        gap = self._snapshot(id)[1]
        return gap.told() if gap else ()

    def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]:
        log = self._logs.get(id)
        if log is None:
            return []
        found = False
        frames, gap = list(log.frames), log.gap
        for stream in STREAMS:
            redactor: Redactor[int] = Redactor(masker)
            pieces = [(number, frame.data) for number, frame in enumerate(frames) if frame.stream == stream]
            count = sum(frames[number].position <= gap.begin.place for number, _ in pieces) if gap else len(pieces)
            missing = gap.missing(stream) if gap else 0
            begin = 0
            for number, offset, data in redactor.redacted(pieces[:count], missing, pieces[count:]):
                frames[number] = replace(frames[number], offset=offset, data=data)
                if gap is not None and frames[number].position <= gap.begin.place:
                    begin = offset + len(data)
            if redactor.marks:
                redaction = Redaction(stream=stream, marks=redactor.marks, offset=redactor.offset)
                log.masked[stream] = redaction.after(log.masked.get(stream))
                found = True
                gap = gap and gap.moved(stream, begin)
        if found:
            with self._lock:
                log.replace(frames, gap)
        return [log.masked[stream] for stream in STREAMS if stream in log.masked]

    def put_afresh(self, id: AttemptId, pieces: Mapping[int, bytes]) -> None:
        """Put these, by how far their source was, in the places of what is kept. For the copies of this store alone."""
        log = self._logs[id]
        frames: list[Frame] = []
        offsets = dict.fromkeys(STREAMS, 0)
        gap = log.gap
        begun: list[Frame] = []
        for frame in log.frames:
            begun.append(frame)
            if frame.position not in log.taken:
                continue
            data = pieces.get(log.taken[frame.position], b"")
            for part in begun:
                if gap is log.gap and gap is not None and part.position > gap.end.place:
                    for stream in STREAMS:
                        gap = gap.moved(stream, offsets[stream])
                        offsets[stream] = gap.end.offset(stream)
                piece, data = data[: len(part.data)], data[len(part.data) :]
                frames.append(replace(part, data=piece, offset=offsets[part.stream]))
                offsets[part.stream] += len(piece)
            begun = []
        with self._lock:
            log.replace(frames, gap)

    def subscribe(self, callback: Callable[[AttemptId], None]) -> Callable[[], None]:
        return self._growth.subscribe(callback)

    def delete_group(self, group: str) -> None:
        for id in [id for id in self._logs if id.group == group]:
            del self._logs[id]

    def purge(self) -> None:
        pass

    def size(self, group: str) -> int:
        logs = [log for id, log in list(self._logs.items()) if id.group == group]
        return sum(len(frame.data) for log in logs for frame in list(log.frames))

    def close(self) -> None:
        pass

    def _snapshot(self, id: AttemptId) -> tuple[list[Frame], Gap | None]:
        with self._lock:
            log = self._logs.get(id)
            return (list(log.frames), log.gap) if log else ([], None)


class _Replacement:
    """Implements runner.logs.copying.Replacement."""

    def __init__(self, store: MemoryLogStore, id: AttemptId) -> None:
        self._store = store
        self._id = id
        self._pieces: dict[int, bytes] = {}

    def put(self, stream: Stream, data: bytes, position: int) -> None:
        del stream  # one position is one piece
        self._pieces[position] = data

    def commit(self) -> None:
        self._store.put_afresh(self._id, self._pieces)

    def abandon(self) -> None:
        self._pieces.clear()


class _Keeper:
    """Implements runner.logs.sink.Keeper and runner.logs.copying.CopyKeeper."""

    def __init__(self, store: MemoryLogStore, id: AttemptId, limit: int) -> None:
        self._store = store
        self._id = id
        self._limit = limit

    def recall(self) -> Mapping[Stream, Progress]:
        return self._store.known(self._id)

    def append(self, stream: Stream, data: bytes, progress: Progress) -> None:
        self._store.append(self._id, stream, data, progress, self._limit)

    def limit(self, bytes: int) -> None:
        self._limit = bytes

    def replacement(self) -> Replacement | None:
        return _Replacement(self._store, self._id) if self._store.known(self._id) else None

    @property
    def shortened(self) -> bool:
        return bool(self._store.gaps(self._id))

    def close(self) -> None:
        return
