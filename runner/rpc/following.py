"""What happens to a group, and what its tasks print, as streams: pulled at the pace of whoever reads, from any point on.

Nothing is queued for a reader: what he has not asked for yet lies in the store and in the logs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct
from msgspec.structs import replace

from runner.engine.engine import Engine
from runner.engine.story import Part, Story
from runner.errors import UnavailableError
from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.ends import Ends
from runner.model.event import Event
from runner.model.log import Frame, Stream
from runner.rpc import convert
from runner.rpc.events import put_event
from runner.rpc.traffic import Traffic
from runner.v1 import runner_pb2 as pb

BYTES_AT_ONCE = 256 << 10
"""Of a log, in one piece of a stream; a single frame may be larger, up to 1 MiB."""
LARGE_BYTES = 64 << 10
"""So much of a log is read on the loop; what is beyond it in a thread, so that nobody waits for a disk."""
RETRY_SECONDS = 5.0
GATHER_SECONDS = 0.01
"""What happens so soon behind a message of a watch is told together: a message costs, here and at who watches, as much as a fifth
of a short task."""
FARTHEST_EVENT = 1 << 62
"""No group will ever have so many, and no store can count much farther."""


class Watch:
    """One watch of a group. An attempt's output comes between the events that tell of its start and of its end."""

    gather_seconds = GATHER_SECONDS

    def __init__(self, engine: Engine, logs: LogStore, traffic: Traffic, id: str, part: Part) -> None:
        self._engine = engine
        self._logs = logs
        self._traffic = traffic
        self._id = id
        self._part = part
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._told_at = -math.inf
        """When the last message was made, in seconds of the loop's clock."""
        self._due: asyncio.TimerHandle | None = None

    async def run(self) -> AsyncIterator[pb.WatchTaskGroupResponse]:
        """Until the group is over. Raises UnavailableError where it is over and that cannot be written down."""
        head = self._engine.library.head(self._id)
        if head.group.status.terminal and self._part.after >= head.last_event:
            return  # whoever asks behind the last event has seen it all
        part, has_ended = self._part, head.group.status.terminal or self._part.after > head.last_event
        story = Story(
            self._id,
            self._engine.events,
            lambda attempt, position: self._logs.frames(attempt, position, LARGE_BYTES),
            replace(part, after=min(part.after, FARTHEST_EVENT), running=self._engine.running(self._id)),
        )
        with self._listening(story):
            while True:
                self._wake.clear()
                while (message := _next(story)) is not None:
                    self._told_at = self._loop.time()
                    yield message
                # Behind the end of a group there may be late results, and nobody tells of the last one.
                if story.over or (has_ended and self._engine.status(self._id).terminal):
                    return
                self._traffic.check_staying()
                if self._engine.unwritten_end(self._id) is not None:
                    raise UnavailableError(
                        "the group is over, which cannot be written down yet", retry_after=RETRY_SECONDS
                    )
                await self._wake.wait()

    def _happened(self) -> None:
        """There is something to be told: at once, unless something was told a moment ago, and more may follow."""
        due = self._told_at + self.gather_seconds
        if due <= self._loop.time() or self._engine.is_over(self._id):
            self._wake.set()
        elif self._due is None:
            self._due = self._loop.call_at(due, self._gathered)

    def _gathered(self) -> None:
        self._due = None
        self._wake.set()

    @contextmanager
    def _listening(self, story: Story) -> Iterator[None]:
        def grew(attempt: AttemptId) -> None:
            if attempt.group == self._id:
                story.grew(attempt)
                self._happened()

        forget: list[Callable[[], None]] = [
            self._traffic.subscribe(self._wake.set),
            self._engine.subscribe(self._id, self._happened),
        ]
        if self._part.output:
            forget.append(self._logs.subscribe(grew))
        try:
            yield
        finally:
            if self._due is not None:
                self._due.cancel()
            for each in forget:
                each()


def _next(story: Story) -> pb.WatchTaskGroupResponse | None:
    """What comes next, as a message; None where there is nothing now. Whoever does not read has this one kept for him, and nothing that
    it was made of."""
    happenings = story.take()
    if not happenings:
        return None
    message = pb.WatchTaskGroupResponse()
    for happening in happenings:
        if isinstance(happening, Event):
            put_event(happening, message.happenings.add().event)
        else:
            chunk = convert.frame_to_proto(happening.frame, happening.task, happening.attempt)
            message.happenings.add().log.CopyFrom(chunk)
    return message


class Piece(Struct, frozen=True):
    """Frames of one attempt's log; at its end perhaps some without data, as `Ends.lost` has them."""

    id: AttemptId
    frames: Sequence[Frame]


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
        ends = Ends(wanted.stream, wanted.offset, wanted.position)
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
                    ends.take(piece.frames)
                    sent = sum(len(frame.data) for frame in piece.frames)
                    left = None if wanted.limit is None else wanted.limit - sent
                    wanted = replace(wanted, position=piece.frames[-1].position, limit=left)
                if over:
                    if (wanted.limit is None or wanted.limit > 0) and (lost := ends.lost(self._logs.gaps(id))):
                        yield Piece(id, lost)
                    return
                self._traffic.check_staying()
                await self._wake.wait()
        finally:
            for each in forget:
                each()


async def read_to_the_end(logs: LogStore, id: AttemptId, wanted: LogReading) -> AsyncIterator[Piece]:
    """What is there of a log by now, and what is missing at its end."""
    ends, size = Ends(wanted.stream, wanted.offset, wanted.position), 0
    async for piece in read_log(logs, id, wanted):
        yield piece
        ends.take(piece.frames)
        size += sum(len(frame.data) for frame in piece.frames)
    if (wanted.limit is None or size < wanted.limit) and (lost := ends.lost(logs.gaps(id))):
        yield Piece(id, lost)


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
