"""What an executor tells of one guest: what became of it, and what it prints, pulled at the pace of its origin.

Nothing is kept for an origin: what it has not been told lies in the store and in the logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from msgspec.structs import replace

from runner.engine.engine import Engine
from runner.engine.story import Part, Story
from runner.logs.base import LogStore
from runner.model.dispatch import AttemptId, Finished, Noticed, Started
from runner.model.event import Event, Kind
from runner.model.log import Frame
from runner.model.session import NOTICED, Afresh, FromExecutor, Printed, Reported
from runner.rpc.following import LARGE_BYTES

MOST_SAID = 64
"""How much is taken at once, in messages, and about how much in bytes (`LARGE_BYTES`)."""


class Telling:
    """One guest's part of a session. It waits for nothing: who has taken all comes again when there is something new; `over` once
    its end was given."""

    def __init__(
        self,
        engine: Engine,
        logs: LogStore,
        guest: AttemptId,
        known_as: AttemptId,
        *,
        after: int = 0,
        position: int = 0,
        end_alone: bool = False,
    ) -> None:
        """`guest` is the attempt in this engine, `known_as` what its origin calls it. `position` is how far its origin has its log;
        with `end_alone` nothing but the end is told. Raises GroupNotFoundError."""
        self.over = False
        self.guest = guest
        self.known_as = known_as
        self._engine = engine
        self._logs = logs
        self._after = after
        self._end_alone = end_alone
        self._position = position
        head = engine.library.head(guest.group)
        # One who has heard more than there is, whatever became of this runner's state, still has to hear the end.
        begin = min(after, max(0, head.last_event - 1))
        part = Part(
            after=begin,
            output=not end_alone,
            positions={guest: position},
            running=engine.running(guest.group),
        )
        self._story = Story(guest.group, engine.events, partial(_frames, logs), part)
        self._said = self._tell()

    def grew(self) -> None:
        """Its log has more to give."""
        self._story.grew(self.guest)

    def take(self) -> list[FromExecutor]:
        """What comes next, in order; empty where there is nothing now."""
        taken: list[FromExecutor] = []
        size = 0
        while len(taken) < MOST_SAID and size < LARGE_BYTES and (said := next(self._said, None)) is not None:
            taken.append(said)
            size += weight(said)
        return taken

    def _tell(self) -> Iterator[FromExecutor | None]:
        """None where there is nothing now."""
        afresh = False
        """The last thing that was told is all of the log, because of a redaction."""
        while not self._story.over:
            happenings = self._story.take()
            if not happenings:
                yield None
            for happening in happenings:
                if not isinstance(happening, Event):
                    afresh = False
                    yield from self._printed(happening.frame)
                elif happening.kind is Kind.GROUP_FINISHED:
                    self.over = True
                    yield self._finished(happening)
                elif happening.number > self._after and not self._end_alone:
                    if happening.kind is Kind.LOG_REDACTED:
                        if not afresh:
                            yield from self._all_printed()
                        afresh = True  # one redaction is told for each stream
                    yield from self._reported(happening)

    def _reported(self, event: Event) -> Iterator[Reported]:
        """Nothing of what is no affair of an executor: the origin's group has events of its own."""
        id, number = self.known_as, event.number
        if event.kind is Kind.TASK_STARTED:
            yield Reported(report=Started(id=id, sequence=number, at=event.at, handle=b""))
        elif event.kind in NOTICED:
            yield Reported(report=Noticed(id=id, sequence=number, kind=event.kind, fields=event.fields))

    def _printed(self, frame: Frame) -> Iterator[Printed]:
        if frame.position <= self._position:
            return  # it was told when all was told afresh
        self._position = frame.position
        yield Printed(
            id=self.known_as, stream=frame.stream, position=frame.position, data=frame.data, missing=frame.missing
        )

    def _all_printed(self) -> Iterator[FromExecutor]:
        yield Afresh(id=self.known_as)
        self._position = 0
        while frames := _frames(self._logs, self.guest, self._position):
            for frame in frames:
                yield from self._printed(frame)

    def _finished(self, event: Event) -> Reported:
        outcome = self._engine.outcome(self.guest.group, self.guest.task)
        if outcome.finished_at is None:  # it was never started
            outcome = replace(outcome, finished_at=event.at)
        sequence = max(event.number, self._after + 1)
        return Reported(report=Finished(id=self.known_as, sequence=sequence, outcome=outcome))


def weight(said: FromExecutor) -> int:
    """About how many bytes a message has, of those that may be large."""
    if isinstance(said, Printed):
        return len(said.data)
    if isinstance(said, Reported) and isinstance(said.report, Finished):
        return sum(len(value.text) for value in said.report.outcome.outputs.values())
    return 0


def _frames(logs: LogStore, id: AttemptId, position: int) -> list[Frame]:
    return list(logs.frames(id, position, LARGE_BYTES))
