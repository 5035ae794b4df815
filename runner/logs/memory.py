"""The log store that keeps everything in memory: for tests and for the simulator."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from runner.logs.progress import Progress
from runner.logs.redaction import Redactor
from runner.logs.sink import CallSoon, Growth, MaskingSink
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Frame, LogSink, Redaction, Stream


class MemoryLogStore:
    """Implements runner.logs.base.LogStore. A position is the number of frames before it."""

    def __init__(self, *, now: Callable[[], float] = time.time, call_soon: CallSoon | None = None) -> None:
        """`now` in seconds since the epoch; `call_soon` as in `Growth`, needed where no asyncio loop runs."""
        self._now = now
        self._growth = Growth(call_soon)
        self._logs: dict[AttemptId, list[Frame]] = {}
        self._sizes: dict[tuple[AttemptId, Stream], int] = {}
        self._progress: dict[tuple[AttemptId, Stream], Progress] = {}

    def open(self, id: AttemptId, masker: Masker) -> LogSink:
        return MaskingSink(masker, _Keeper(self, id))

    def known(self, id: AttemptId) -> Mapping[Stream, Progress]:
        """How far the streams have come; for the sinks of this store alone."""
        return {stream: known for stream in STREAMS if (known := self._progress.get((id, stream))) is not None}

    def append(self, id: AttemptId, stream: Stream, data: bytes, progress: Progress) -> None:
        """For the sinks of this store alone."""
        former = self._progress.get((id, stream), Progress())
        self._progress[id, stream] = progress.also(former.asked)
        if data:
            frames = self._logs.setdefault(id, [])
            offset = self._sizes.get((id, stream), 0)
            self._sizes[id, stream] = offset + len(data)
            frames.append(Frame(stream=stream, offset=offset, data=data, at=self._now(), position=len(frames) + 1))
            self._growth.note(id)

    def frames(self, id: AttemptId, after: int = 0, limit_bytes: int = 1 << 20) -> Sequence[Frame]:
        found: list[Frame] = []
        size = 0
        for frame in self._logs.get(id, [])[after:]:
            if not frame.data:
                continue  # a redaction left nothing of it
            size += len(frame.data)
            if found and size > limit_bytes:
                break
            found.append(frame)
        return found

    def read(self, id: AttemptId, stream: Stream, offset: int = 0, limit: int = 1 << 20) -> bytes:
        frames = [frame for frame in self._logs.get(id, []) if frame.stream == stream]
        first = max(0, bisect_right(frames, offset, key=lambda frame: frame.offset) - 1)
        data = bytearray()
        for frame in frames[first:]:
            if len(data) >= limit:
                break
            data += frame.data[max(0, offset - frame.offset) :]
        return bytes(data[:limit])

    def redact(self, id: AttemptId, masker: Masker) -> Sequence[Redaction]:
        frames = list(self._logs.get(id, []))
        told: list[Redaction] = []
        for stream in STREAMS:
            redactor: Redactor[int] = Redactor(masker)
            numbered = [(number, frame.data) for number, frame in enumerate(frames) if frame.stream == stream]
            offset = 0
            for number, data in redactor.redacted(numbered):
                frames[number] = replace(frames[number], offset=offset, data=data)
                offset += len(data)
            if redactor.marks:
                told.append(Redaction(stream=stream, marks=redactor.marks, offset=redactor.offset))
                self._sizes[id, stream] = offset
        if told:
            self._logs[id] = frames
        return told

    def subscribe(self, callback: Callable[[AttemptId], None]) -> Callable[[], None]:
        return self._growth.subscribe(callback)

    def delete_group(self, group: str) -> None:
        for id in [id for id in self._logs if id.group == group]:
            del self._logs[id]
        for key in [key for key in self._sizes if key[0].group == group]:
            del self._sizes[key]
        for key in [key for key in self._progress if key[0].group == group]:
            del self._progress[key]

    def close(self) -> None:
        pass


class _Keeper:
    """Implements runner.logs.sink.Keeper."""

    def __init__(self, store: MemoryLogStore, id: AttemptId) -> None:
        self._store = store
        self._id = id

    def recall(self) -> Mapping[Stream, Progress]:
        return self._store.known(self._id)

    def append(self, stream: Stream, data: bytes, progress: Progress) -> None:
        self._store.append(self._id, stream, data, progress)

    def close(self) -> None:
        return
