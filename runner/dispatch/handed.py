"""What was handed to another runner, an attempt at a task or a whole group, and the logs, which are copied from there."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Protocol

from msgspec.structs import replace

from runner.dispatch.claims import Claims, GroupClaims
from runner.errors import StoreCorruptError
from runner.model.dispatch import AttemptId, Dispatch, Fact, GroupDispatch, Noticed, Report, Told
from runner.model.event import Kind
from runner.model.log import Stream
from runner.model.session import Afresh, Printed, Submit, SubmitGroup

ENDS = frozenset({Kind.TASK_FINISHED, Kind.TASK_RETRYING})
"""What tells of the end of an attempt."""

MOST_OPEN = 256
"""Logs of one group whose files are open at once."""

_log = logging.getLogger(__name__)


class Copy(Protocol):
    """What is needed of a `LogCopy`, whose methods these are."""

    @property
    def position(self) -> int: ...

    def append(self, stream: Stream, data: bytes, position: int) -> None: ...

    def afresh(self) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class Copies(Protocol):
    """What is needed of a `LogStore`, whose method this is."""

    def copy(self, id: AttemptId) -> Copy: ...


class Handed(ABC):
    """`heard` is the number of the last report that was passed on."""

    __slots__ = ("cancel_grace", "heard", "id", "instance", "is_handed_over", "is_over", "may_be_known", "signals")

    def __init__(self, id: AttemptId, instance: str, *, resumed: bool) -> None:
        self.id = id
        self.instance = instance
        """The life of the peer that it was given to."""
        self.heard = 0
        self.cancel_grace: float | None = None
        """In seconds; None where it was not asked to end."""
        self.signals: list[tuple[AttemptId, str]] = []
        """What it has to be told behind its submission."""
        self.may_be_known = resumed
        """The peer may know it, in this session or from a former one."""
        self.is_handed_over = False
        """In the present session."""
        self.is_over = False
        """Its end was passed on."""

    @abstractmethod
    def submission(self, hop: str) -> Submit | SubmitGroup:
        """With which it is handed over; `hop` is this runner."""

    @abstractmethod
    def pause(self, id: AttemptId, *, paused: bool) -> None:
        """What its next submission says of an attempt of it."""

    @abstractmethod
    def printed(self, said: Printed | Afresh) -> None:
        """Raises OSError where it cannot be kept."""

    @abstractmethod
    def taken(self, report: Report) -> Report | None:
        """What is passed on of a report; None for nothing. Raises OSError where a log cannot be kept."""

    @abstractmethod
    def close_logs(self) -> None:
        """May be repeated."""

    def end(self) -> None:
        self.is_over = True
        self.close_logs()


class HandedTask(Handed):
    __slots__ = ("_claims", "_dispatch", "_log")

    def __init__(self, dispatch: Dispatch, runner: str, logs: Copies) -> None:
        """`runner` is what this one calls the peer."""
        super().__init__(dispatch.id, dispatch.instance, resumed=dispatch.resumed)
        self._dispatch = dispatch
        self._claims = Claims(dispatch.task, runner)
        self._log = CopiedLog(dispatch.id, logs)

    def submission(self, hop: str) -> Submit:
        dispatch = self._dispatch
        return Submit(
            dispatch=dispatch,
            hops=(*dispatch.hops, hop),
            after=self.heard,
            printed=self._log.position,
            cancel_grace=self.cancel_grace,
        )

    def pause(self, id: AttemptId, *, paused: bool) -> None:
        self._dispatch = replace(self._dispatch, paused=paused)

    def printed(self, said: Printed | Afresh) -> None:
        self._log.take(said)

    def taken(self, report: Report) -> Report | None:
        if isinstance(report, Noticed) and report.kind is Kind.LOG_REDACTED:
            self._log.settle()
        return None if isinstance(report, Told) else self._claims.taken(report)

    def close_logs(self) -> None:
        self._log.close()


class HandedGroup(Handed):
    __slots__ = ("_claims", "_copies", "_dispatch", "_logs", "_open")

    def __init__(self, dispatch: GroupDispatch, runner: str, copies: Copies) -> None:
        """`runner` is what this one calls the peer."""
        super().__init__(dispatch.id, dispatch.instance, resumed=dispatch.resumed)
        self._dispatch = dispatch
        self._claims = GroupClaims(dispatch.group, runner)
        self._copies = copies
        self._logs: dict[AttemptId, CopiedLog] = {id: CopiedLog(id, copies) for id in dispatch.running}
        """Of the attempts that are under way."""
        self._open: dict[AttemptId, None] = {}
        """Of which of them the file may be, those last that were printed last."""

    def submission(self, hop: str) -> SubmitGroup:
        dispatch = self._dispatch
        return SubmitGroup(
            dispatch=dispatch,
            hops=(*dispatch.hops, hop),
            after=self.heard,
            printed={id: position for id in self._logs if (position := self._position(id))},
            cancel_grace=self.cancel_grace,
        )

    def pause(self, id: AttemptId, *, paused: bool) -> None:
        others = self._dispatch.paused - {id.task}
        self._dispatch = replace(self._dispatch, paused=others | {id.task} if paused else others)

    def printed(self, said: Printed | Afresh) -> None:
        log = self._logs.get(said.id)
        if log is not None:
            self._keep_open(said.id)
            log.take(said)

    def taken(self, report: Report) -> Report | None:
        if isinstance(report, Told):
            for fact in report.facts:
                self._look(fact)
        return self._claims.taken(report)

    def close_logs(self) -> None:
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        self._open.clear()

    def _look(self, fact: Fact) -> None:
        event = fact.event
        if event.task is None:
            return
        id = AttemptId(self.id.group, event.task, event.attempt or 0)
        if event.kind is Kind.TASK_DISPATCHED:
            self._logs.setdefault(id, CopiedLog(id, self._copies))
        elif event.kind is Kind.LOG_REDACTED and id in self._logs:
            self._keep_open(id)
            self._logs[id].settle()
        elif event.kind in ENDS:
            if id in self._logs:
                self._logs.pop(id).close()
                self._open.pop(id, None)
            self._dispatch = replace(self._dispatch, paused=self._dispatch.paused - {event.task})

    def _position(self, id: AttemptId) -> int:
        position = self._logs[id].position
        if id not in self._open:
            self._logs[id].close()
        return position

    def _keep_open(self, id: AttemptId) -> None:
        """One that comes afresh comes in one piece, so that it is never another one's turn to be closed."""
        self._open.pop(id, None)
        self._open[id] = None
        if len(self._open) > MOST_OPEN:
            oldest = next(iter(self._open))
            del self._open[oldest]
            self._logs[oldest].close()


class CopiedLog:
    """A log that turns out to be damaged here is copied no more: the attempt goes on without it."""

    __slots__ = ("_copy", "_id", "_is_copied", "_logs")

    def __init__(self, id: AttemptId, logs: Copies) -> None:
        self._id = id
        self._logs = logs
        self._copy: Copy | None = None
        self._is_copied = True

    @property
    def position(self) -> int:
        """How far it is here; 0 where that cannot be read."""
        try:
            return self._opened().position
        except (OSError, StoreCorruptError) as error:
            self._give_up(error)
            return 0

    def take(self, said: Printed | Afresh) -> None:
        """A piece of it, or that it comes afresh. Raises OSError."""
        if not self._is_copied:
            return
        copy = self._opened()
        try:
            if isinstance(said, Afresh):
                copy.afresh()
            else:
                note = f"\n[{said.missing:,} bytes are not kept]\n".encode() if said.missing else b""
                copy.append(said.stream, note + said.data, said.position)
        except StoreCorruptError as error:
            self._give_up(error)

    def settle(self) -> None:
        """What came afresh has come. Raises OSError."""
        if self._is_copied:
            try:
                self._opened().settle()
            except StoreCorruptError as error:
                self._give_up(error)

    def close(self) -> None:
        """May be repeated."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def _opened(self) -> Copy:
        if self._copy is None:
            self._copy = self._logs.copy(self._id)
        return self._copy

    def _give_up(self, error: Exception) -> None:
        _log.error("the log of %s cannot be copied: %s", self._id, error, extra={"action": "log_copy"})
        self._is_copied = False
