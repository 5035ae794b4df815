"""What happens to a group, and what its tasks print, as streams: pulled at the pace of whoever reads, from any point on.

Nothing is queued for a reader: what he has not asked for yet lies in the store and in the logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from runner.engine.engine import Engine
from runner.errors import UnavailableError
from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.log import Frame, Stream
from runner.rpc.traffic import Traffic

EVENTS_AT_ONCE = 500
BYTES_AT_ONCE = 256 << 10
"""Of logs, in one piece of a stream; a single frame may be larger, up to 1 MiB."""
LARGE_BYTES = 64 << 10
"""What is beyond it is read in a thread, so that nobody waits for a disk."""

RETRY_SECONDS = 5.0

ENDS = (Kind.TASK_FINISHED, Kind.TASK_RETRYING)


class Piece(Struct, frozen=True):
    """Frames of one attempt's log."""

    id: AttemptId
    frames: Sequence[Frame]


class Happenings(Struct, frozen=True, kw_only=True):
    """From where on, and what of it. `positions` tells how far the logs of attempts were read; `tasks` are those that are
    asked for, None for all; `output`: with what they print."""

    after: int = 0
    output: bool = False
    positions: Mapping[AttemptId, int] = {}
    tasks: Collection[str] | None = None


class Watch:
    """One watch of a group. An attempt's output comes before the event that tells of its end."""

    def __init__(self, engine: Engine, logs: LogStore, traffic: Traffic, id: str, wanted: Happenings) -> None:
        self._engine = engine
        self._logs = logs
        self._traffic = traffic
        self._id = id
        self._wanted = wanted
        self._last = wanted.after
        self._wake = asyncio.Event()
        self._positions = dict(wanted.positions)
        self._started: set[AttemptId] = set()
        """Attempts that run, as far as the reader knows."""
        self._grown: dict[AttemptId, None] = {}
        """Attempts of whose logs there may be more."""

    async def run(self) -> AsyncIterator[Sequence[Event | Piece]]:
        """In pieces that are worth a message each, until the group is over. Raises UnavailableError where it is over and that
        cannot be written down."""
        head = self._engine.library.head(self._id)
        if head.group.status.terminal and self._last >= head.last_event:
            return  # whoever asks behind the last event has seen it all
        with self._listening():
            if self._wanted.output:
                self._started.update(id for id in self._engine.running(self._id) if self._is_wanted(id.task))
                self._grown.update(dict.fromkeys(self._started))
            while True:
                self._wake.clear()
                async for piece in self._new():
                    yield piece
                    if isinstance(piece[-1], Event) and piece[-1].kind is Kind.GROUP_FINISHED:
                        return
                self._traffic.check_staying()
                if self._engine.unwritten_end(self._id) is not None:
                    raise UnavailableError(
                        "the group is over, which cannot be written down yet", retry_after=RETRY_SECONDS
                    )
                await self._wake.wait()

    async def _new(self) -> AsyncIterator[Sequence[Event | Piece]]:
        while events := self._engine.events(self._id, self._last, EVENTS_AT_ONCE):
            told: list[Event | Piece] = []
            for event in events:
                self._last = event.number
                if event.task is not None and not self._is_wanted(event.task):
                    continue
                if self._wanted.output and event.task is not None:
                    async for rest in self._output_before(event, event.task):
                        if told:
                            yield told
                            told = []
                        yield [rest]
                told.append(event)
            if told:
                yield told
        for id in [id for id in self._grown if id in self._started]:
            piece = await self._next(id)
            if piece is None:
                self._grown.pop(id, None)
            else:
                self._wake.set()  # there may be more of it
                yield [piece]

    async def _output_before(self, event: Event, task: str) -> AsyncIterator[Piece]:
        """What an attempt has printed that the reader has to see before its end; nothing of one that is not told to have
        started."""
        id = AttemptId(self._id, task, event.attempt or 0)
        if event.kind is Kind.TASK_STARTED:
            self._started.add(id)
            self._grown[id] = None
        elif event.kind in ENDS:
            self._started.discard(id)
            self._grown.pop(id, None)
            async for piece in self._rest(id):
                yield piece
            self._positions.pop(id, None)

    async def _rest(self, id: AttemptId) -> AsyncIterator[Piece]:
        while (piece := await self._next(id)) is not None:
            yield piece

    async def _next(self, id: AttemptId) -> Piece | None:
        frames = await read_frames(self._logs, id, self._positions.get(id, 0))
        if not frames:
            return None
        self._positions[id] = frames[-1].position
        return Piece(id, frames)

    def _is_wanted(self, task: str) -> bool:
        return self._wanted.tasks is None or task in self._wanted.tasks

    def _log_grew(self, id: AttemptId) -> None:
        if id.group == self._id and self._is_wanted(id.task):
            self._grown[id] = None
            self._wake.set()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        forget: list[Callable[[], None]] = [
            self._traffic.subscribe(self._wake.set),
            self._engine.subscribe(self._id, self._wake.set),
        ]
        if self._wanted.output:
            forget.append(self._logs.subscribe(self._log_grew))
        try:
            yield
        finally:
            for each in forget:
                each()


class LogReading(Struct, frozen=True, kw_only=True):
    """What of a log is wanted: behind `position` one `stream` or both; of one, nothing before `offset`; `limit` in bytes, None for
    all."""

    stream: Stream | None = None
    position: int = 0
    offset: int = 0
    limit: int | None = None


class Following:
    """One attempt's log while it grows."""

    def __init__(self, engine: Engine, logs: LogStore, traffic: Traffic, id: AttemptId, wanted: LogReading) -> None:
        self._engine = engine
        self._logs = logs
        self._traffic = traffic
        self._id = id
        self._wanted = wanted
        self._wake = asyncio.Event()

    async def run(self) -> AsyncIterator[Piece]:
        """Until the attempt is over, or will never begin."""
        wanted, id = self._wanted, self._id
        forget = [
            self._traffic.subscribe(self._wake.set),
            self._engine.subscribe(id.group, self._wake.set),
            self._logs.subscribe(lambda grown: self._wake.set() if grown == id else None),
        ]
        try:
            while wanted.limit is None or wanted.limit > 0:
                self._wake.clear()
                over = self._engine.library.is_over(id)
                async for piece in read_log(self._logs, id, wanted):
                    yield piece
                    sent = sum(len(frame.data) for frame in piece.frames)
                    left = None if wanted.limit is None else wanted.limit - sent
                    wanted = replace(wanted, position=piece.frames[-1].position, limit=left)
                if over:
                    return
                self._traffic.check_staying()
                await self._wake.wait()
        finally:
            for each in forget:
                each()


async def read_log(logs: LogStore, id: AttemptId, wanted: LogReading) -> AsyncIterator[Piece]:
    """What is there of a log by now. Whoever follows it asks again, behind the position of the last frame."""
    position, left = wanted.position, wanted.limit
    while left is None or left > 0:
        frames = await read_frames(logs, id, position)
        if not frames:
            return
        position = frames[-1].position
        told = []
        for frame in frames:
            cut = _cut(frame, wanted, left)
            if cut is not None:
                told.append(cut)
                left = None if left is None else left - len(cut.data)
        if told:
            yield Piece(id, told)


def _cut(frame: Frame, wanted: LogReading, left: int | None) -> Frame | None:
    """What of the frame is wanted, if there is something."""
    if wanted.stream not in (None, frame.stream):
        return None
    skipped = max(0, wanted.offset - frame.offset)
    if not skipped and (left is None or len(frame.data) <= left):
        return frame
    data = frame.data[skipped:] if left is None else frame.data[skipped : skipped + left]
    missing = 0 if skipped else frame.missing
    return replace(frame, offset=frame.offset + skipped, data=data, missing=missing) if data else None


async def read_frames(logs: LogStore, id: AttemptId, position: int) -> Sequence[Frame]:
    """The next frames, about `BYTES_AT_ONCE`."""
    frames = logs.frames(id, position, LARGE_BYTES)
    if sum(len(frame.data) for frame in frames) < LARGE_BYTES // 2:
        return frames
    more = await asyncio.to_thread(logs.frames, id, frames[-1].position, BYTES_AT_ONCE - LARGE_BYTES)
    return [*frames, *more]
