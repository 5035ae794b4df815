"""What an executor tells of one guest: what became of it, and what it prints, pulled at the pace of its origin.

Nothing is kept for an origin: what it has not been told lies in the store and in the logs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from msgspec.structs import replace

from runner.engine.engine import Engine
from runner.engine.story import Part, Story
from runner.logs.base import LogStore
from runner.model.dispatch import WHOLE, AttemptId, Fact, Finished, Noticed, Started, Told
from runner.model.event import Event, Kind
from runner.model.log import Frame
from runner.model.result import Outcome, Status
from runner.model.session import NOTICED, Afresh, FromExecutor, Printed, Reported
from runner.model.watch import Happening
from runner.rpc.following import LARGE_BYTES

MOST_SAID = 64
"""How much is taken at once, in messages, and about how much in bytes (`LARGE_BYTES`)."""
MOST_FACTS = 256
"""Of a group, in one message."""


class Telling(ABC):
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
        positions: Mapping[AttemptId, int] | None = None,
        end_alone: bool = False,
    ) -> None:
        """`guest` is the attempt in this engine, or the group where that is the guest, `known_as` what its origin calls it. `positions`
        are how far its origin has logs, as that calls the attempts; with `end_alone` nothing but the end is told. Raises
        GroupNotFoundError."""
        self.over = False
        self.guest = guest
        self.known_as = known_as
        self._engine = engine
        self._logs = logs
        self._after = after
        self._end_alone = end_alone
        self._positions = {self._guest_of(id): position for id, position in (positions or {}).items()}
        """How far logs were told, by the attempts of this engine."""
        self._afresh: set[AttemptId] = set()
        """The last thing that was told of these is all of the log, because of a redaction."""
        head = engine.library.head(guest.group)
        # One who has heard more than there is, whatever became of this runner's state, still has to hear the end.
        begin = min(after, max(0, head.last_event - 1))
        part = Part(
            after=begin,
            output=not end_alone,
            positions=dict(self._positions),
            running=engine.running(guest.group),
        )
        self._story = Story(guest.group, engine.events, partial(_frames, logs), part)
        self._said = self._tell()

    def grew(self, id: AttemptId) -> None:
        """The log of an attempt has more to give."""
        self._story.grew(id)

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
        while not self._story.over:
            happenings = self._story.take()
            if not happenings:
                yield None
            yield from self._told(happenings)

    def _told(self, happenings: Sequence[Happening]) -> Iterator[FromExecutor]:
        self._look_ahead(happenings)
        for happening in happenings:
            if not isinstance(happening, Event):
                id = AttemptId(self.guest.group, happening.task, happening.attempt)
                yield from self._before_other()
                yield from self._printed(id, happening.frame)
            elif happening.kind is Kind.GROUP_FINISHED:
                yield from self._before_other()
                self.over = True
                sequence = max(happening.number, self._after + 1)
                yield Reported(report=Finished(id=self.known_as, sequence=sequence, outcome=self._outcome(happening)))
            elif happening.number > self._after and not self._end_alone:
                if happening.kind is Kind.LOG_REDACTED:
                    yield from self._before_other()
                    yield from self._all_printed(
                        AttemptId(self.guest.group, happening.task or "", happening.attempt or 1)
                    )
                yield from self._reported(happening)
        yield from self._before_other()

    def _look_ahead(self, happenings: Sequence[Happening]) -> None:  # noqa: B027 - most have no use for it
        """At what is to be told next."""

    def _before_other(self) -> Iterator[Reported]:
        """What is to be told before anything that is no event."""
        return iter(())

    @abstractmethod
    def _reported(self, event: Event) -> Iterator[Reported]:
        """Now, or at the latest `_before_other`."""

    @abstractmethod
    def _outcome(self, end: Event) -> Outcome:
        """How the guest ended."""

    @abstractmethod
    def _known_as(self, id: AttemptId) -> AttemptId:
        """What the origin calls an attempt of this engine."""

    @abstractmethod
    def _guest_of(self, id: AttemptId) -> AttemptId:
        """The attempt of this engine that the origin calls so."""

    def _printed(self, id: AttemptId, frame: Frame) -> Iterator[Printed]:
        self._afresh.discard(id)
        if frame.position <= self._positions.get(id, 0):
            return  # it was told when all was told afresh
        yield self._piece(id, frame)

    def _piece(self, id: AttemptId, frame: Frame) -> Printed:
        self._positions[id] = frame.position
        return Printed(
            id=self._known_as(id),
            stream=frame.stream,
            position=frame.position,
            data=frame.data,
            missing=frame.missing,
        )

    def _all_printed(self, id: AttemptId) -> Iterator[FromExecutor]:
        if id in self._afresh:
            return  # one redaction is told for each stream
        yield Afresh(id=self._known_as(id))
        self._positions[id] = 0
        while frames := _frames(self._logs, id, self._positions[id]):
            for frame in frames:
                yield self._piece(id, frame)
        self._afresh.add(id)


class AttemptTelling(Telling):
    """Of an attempt at a task."""

    def _reported(self, event: Event) -> Iterator[Reported]:
        """Nothing of what is no affair of an executor: the origin's group has events of its own."""
        id, number = self.known_as, event.number
        if event.kind is Kind.TASK_STARTED:
            yield Reported(report=Started(id=id, sequence=number, at=event.at, handle=b""))
        elif event.kind in NOTICED:
            yield Reported(report=Noticed(id=id, sequence=number, kind=event.kind, fields=event.fields))

    def _outcome(self, end: Event) -> Outcome:
        outcome = self._engine.outcomes(self.guest.group, [self.guest.task])[self.guest.task]
        # One that was never started has no end of its own.
        return outcome if outcome.finished_at is not None else replace(outcome, finished_at=end.at)

    def _known_as(self, id: AttemptId) -> AttemptId:
        return self.known_as

    def _guest_of(self, id: AttemptId) -> AttemptId:
        return self.guest


class GroupTelling(Telling):
    """Of a whole group: all of its events, many in a message, and with each end of a task how that was."""

    _outcomes: Mapping[str, Outcome] = MappingProxyType({})
    """Of what is told next."""
    _facts: tuple[Fact, ...] = ()
    """What is told in the next message."""

    def _look_ahead(self, happenings: Sequence[Happening]) -> None:
        ended = [it.task for it in happenings if isinstance(it, Event) and it.kind is Kind.TASK_FINISHED and it.task]
        self._outcomes = self._engine.outcomes(self.guest.group, ended) if ended else {}

    def _before_other(self) -> Iterator[Reported]:
        if self._facts:
            facts, self._facts = self._facts, ()
            yield Reported(report=Told(id=self.known_as, sequence=facts[-1].event.number, facts=facts))

    def _reported(self, event: Event) -> Iterator[Reported]:
        if event.kind is Kind.GROUP_ACCEPTED:
            return
        outcome = self._outcomes.get(event.task or "") if event.kind is Kind.TASK_FINISHED else None
        if outcome is not None and outcome.finished_at is None:
            outcome = replace(outcome, finished_at=event.at)
        if event.kind is Kind.TASK_DISPATCHED and event.fields.get("runner") == self._engine.name:
            event = replace(event, fields={})  # its origin has a name of its own for this runner
        self._facts = (*self._facts, Fact(event=event, outcome=outcome))
        if len(self._facts) >= MOST_FACTS or _outputs(outcome) > LARGE_BYTES // MOST_FACTS:
            yield from self._before_other()

    def _outcome(self, end: Event) -> Outcome:
        return Outcome(status=Status(end.fields["status"]), reason=end.fields.get("reason"), finished_at=end.at)

    def _known_as(self, id: AttemptId) -> AttemptId:
        return AttemptId(self.known_as.group, id.task, id.attempt)

    def _guest_of(self, id: AttemptId) -> AttemptId:
        return AttemptId(self.guest.group, id.task, id.attempt)


def telling(
    engine: Engine,
    logs: LogStore,
    guest: AttemptId,
    known_as: AttemptId,
    *,
    after: int = 0,
    positions: Mapping[AttemptId, int] | None = None,
    end_alone: bool = False,
) -> Telling:
    """As `Telling`, for a guest of either kind."""
    kind = GroupTelling if known_as.task == WHOLE else AttemptTelling
    return kind(engine, logs, guest, known_as, after=after, positions=positions, end_alone=end_alone)


def weight(said: FromExecutor) -> int:
    """About how many bytes a message has, of those that may be large."""
    if isinstance(said, Printed):
        return len(said.data)
    if isinstance(said, Reported) and isinstance(said.report, Finished):
        return _outputs(said.report.outcome)
    if isinstance(said, Reported) and isinstance(said.report, Told):
        return sum(_outputs(fact.outcome) for fact in said.report.facts)
    return 0


def _outputs(outcome: Outcome | None) -> int:
    return 0 if outcome is None else sum(len(value.text) for value in outcome.outputs.values())


def _frames(logs: LogStore, id: AttemptId, position: int) -> list[Frame]:
    return list(logs.frames(id, position, LARGE_BYTES))
