"""A group's story, in order: its events, and what its tasks print."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack

from msgspec import Struct

from runner.engine.engine import Engine
from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.log import Frame
from runner.model.watch import Happening, LogChunk

ENDS = frozenset({Kind.TASK_FINISHED, Kind.TASK_RETRYING, Kind.TASK_HELD})
"""What tells of the end of an attempt."""

MOST_EVENTS = 1000
MOST_BYTES = 1 << 20
"""About how much is given at once."""


Events = Callable[[str, int, int], Sequence[Event]]
"""As `Store.events`: of a group, above a number, at most so many."""

Frames = Callable[[AttemptId, int], Sequence[Frame]]
"""As `LogStore.frames`: of an attempt, behind a position."""


class Part(Struct, frozen=True, kw_only=True):
    """What of a story is wanted: events with a number above `after`; `tasks` are those that are meant beside the group as a whole,
    None for all; with `output`, what they print, of each attempt's log what is behind its place in `positions`. `running` are the
    attempts that run and whose start is among the events, before or behind `after`."""

    after: int = 0
    tasks: Collection[str] | None = None
    output: bool = True
    positions: Mapping[AttemptId, int] = {}
    running: Collection[AttemptId] = ()


ALL = Part()


class Story:
    """Pulls a story out of where it is kept, at the pace of whoever takes it: nothing queues up here.

    It waits for nothing: who has taken all comes again when there is something new. `over` once `group_finished` was given.
    """

    def __init__(self, id: str, events: Events, frames: Frames, part: Part = ALL) -> None:
        self.over = False
        self._id = id
        self._events = events
        self._frames = frames
        self._part = part
        self._last_event = part.after
        self._read: deque[Event] = deque()
        """Events that were read and not given yet."""
        running = [id for id in part.running if part.output and self._is_wanted(id.task)]
        self._positions = {id: part.positions.get(id, 0) for id in running}
        """How far the logs of the attempts that run are given."""
        self._grown: dict[AttemptId, None] = dict.fromkeys(running)

    def grew(self, id: AttemptId) -> None:
        """The log of an attempt has more to give. Those of other groups are ignored."""
        if id.group == self._id and self._is_wanted(id.task):
            self._grown[id] = None

    def grew_all(self) -> None:
        """Any log may have grown."""
        self._grown.update(dict.fromkeys(self._positions))

    def take(self) -> Sequence[Happening]:
        """What comes next; empty where there is nothing now."""
        taken: list[Happening] = []
        while len(taken) < MOST_EVENTS and (event := self._next_event()) is not None:
            id = AttemptId(self._id, event.task or "", event.attempt or 0)
            if event.task is not None and not self._is_wanted(event.task):
                self._last_event = self._read.popleft().number
                continue
            if event.kind in ENDS and self._part.output:
                self._positions.setdefault(id, self._part.positions.get(id, 0))  # it had started before `after`
                if frames := self._take_log(id):
                    return [*taken, *frames]
                self._grown.pop(id, None)
                if event.kind is not Kind.TASK_HELD:  # else its end may be told once more
                    del self._positions[id]
            elif event.kind is Kind.TASK_STARTED and self._part.output:
                self._positions.setdefault(id, self._part.positions.get(id, 0))
                self._grown[id] = None  # what it printed before anybody looked
            self._last_event = self._read.popleft().number
            taken.append(event)
            if event.kind is Kind.GROUP_FINISHED:
                self.over = True
                return taken
        return taken if len(taken) >= MOST_EVENTS else [*taken, *self._take_logs()]

    def take_rest(self) -> Sequence[Happening]:
        """What is left in the logs of attempts whose end nobody tells; empty where there is nothing."""
        self.grew_all()
        return self._take_logs()

    def _is_wanted(self, task: str) -> bool:
        return self._part.tasks is None or task in self._part.tasks

    def _next_event(self) -> Event | None:
        if not self._read:
            self._read.extend(self._events(self._id, self._last_event, MOST_EVENTS))
        return self._read[0] if self._read else None

    def _take_logs(self) -> list[Happening]:
        taken: list[Happening] = []
        size = 0
        for id in list(self._grown):
            # A log may grow before the event that tells of its start; it is given behind that.
            if id in self._positions:
                del self._grown[id]
                chunks = self._take_log(id)
                if chunks:
                    self._grown[id] = None  # to be asked again, after all others
                    taken += chunks
                    size += sum(len(chunk.frame.data) for chunk in chunks)
                    if size > MOST_BYTES:
                        break
        return taken

    def _take_log(self, id: AttemptId) -> list[LogChunk]:
        frames = self._frames(id, self._positions[id])
        if frames:
            self._positions[id] = frames[-1].position
        return [LogChunk(task=id.task, attempt=id.attempt, frame=frame) for frame in frames]


async def told(engine: Engine, logs: LogStore, id: str) -> AsyncIterator[Sequence[Happening]]:
    """The story of a group as it happens, up to `group_finished` or to its `Engine.unwritten_end`."""
    story = Story(id, engine.events, logs.frames)
    wake = asyncio.Event()

    def grew(attempt: AttemptId) -> None:
        if attempt.group == id:
            story.grew(attempt)
            wake.set()

    with ExitStack() as stack:
        stack.callback(engine.subscribe(id, wake.set))
        stack.callback(logs.subscribe(grew))
        while True:
            wake.clear()
            while happenings := story.take():
                yield happenings
            if story.over:
                return
            if engine.unwritten_end(id) is not None:
                while happenings := story.take_rest():
                    yield happenings
                return
            await wake.wait()
