"""The groups that are at hand: those that are not over, and those of which something may still report. What happens to one of them
comes here, and goes to its run."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableSequence, Sequence
from functools import partial

from msgspec import Struct

from runner.clock import Clock
from runner.dispatch.base import Dispatcher
from runner.engine.audience import Audience
from runner.engine.document import Document
from runner.engine.group_run import GroupRun
from runner.engine.journal import Journal
from runner.engine.slots import SlotQueue
from runner.engine.state import TaskState
from runner.model.dispatch import Report
from runner.model.event import Event, Kind
from runner.store.base import GroupRow, Store

LET_GO_AT_ONCE = 1000

_log = logging.getLogger(__name__)


class Burden(Struct, frozen=True, kw_only=True):
    """Groups that are not over, and how large their documents and inputs are together."""

    groups: int = 0
    bytes: int = 0


NOTHING = Burden()


class Living:
    """The groups that are not over, in all and of each caller."""

    def __init__(self) -> None:
        self.all = NOTHING
        self._callers: dict[str, Burden] = {}

    def add(self, run: GroupRun) -> None:
        self._change(run.caller, 1, run.document_bytes)

    def remove(self, run: GroupRun) -> None:
        self._change(run.caller, -1, -run.document_bytes)

    def of(self, caller: str) -> Burden:
        return self._callers.get(caller, NOTHING)

    def _change(self, caller: str, groups: int, bytes: int) -> None:
        self.all = Burden(groups=self.all.groups + groups, bytes=self.all.bytes + bytes)
        known = self.of(caller)
        self._callers[caller] = Burden(groups=known.groups + groups, bytes=known.bytes + bytes)
        if not self._callers[caller].groups:
            del self._callers[caller]


class Roster:
    """With the journal in which they write, and which tells of what has become safe."""

    def __init__(self, store: Store, clock: Clock, slots: SlotQueue, audience: Audience) -> None:
        self.runs: dict[str, GroupRun] = {}
        """By id."""
        self.living = Living()
        self.journal = Journal(store, clock, self._fill_slots)
        self.journal.on_commit = self._committed
        self.journal.on_failure = self._not_committed
        self.on_end: Callable[[], None] = lambda: None
        """Told behind each recorded end of a group."""
        self._clock = clock
        self.slots = slots
        self._audience = audience
        self._resting: list[Callable[[], None]] = []

    def add(self, run: GroupRun) -> None:
        self.runs[run.id] = run
        self.living.add(run)

    def document(self, id: str) -> Document | None:
        """None where the group is not at hand."""
        run = self.runs.get(id)
        return None if run is None else Document(run.group, run.graph, run.document_bytes)

    def report(self, executor: Dispatcher, report: Report) -> None:
        """What an executor says of an attempt."""
        run = self.runs.get(report.id.group)
        if run is not None:
            run.attempts.report(executor, report)

    def forget(self, executor: Dispatcher) -> None:
        """It says nothing any more of what it has."""
        for run in list(self.runs.values()):
            if run.attempts.forget(executor):
                self._look(run.id)

    def rest(self, done: Callable[[], None]) -> None:
        """See `Engine.rest`."""
        self.slots.closed = True
        if self.slots.taken:
            self._resting.append(done)
        else:
            done()

    def is_given_up(self, run: GroupRun) -> bool:
        """Whether it is over although that cannot be written, and nobody is to wait for it any more."""
        journal = self.journal
        return journal.failure is not None and journal.is_unwritten(run) and run.told_by <= self._clock.now().boot

    def _fill_slots(self) -> None:
        slots = self.slots
        slots.settle()
        while slots.ready:
            group, index = slots.take()
            self.runs[group].granted(index)
        for group, index in slots.added:
            if (run := self.runs.get(group)) is not None:
                run.not_granted(index)
        slots.added.clear()

    def _committed(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind is Kind.GROUP_FINISHED:
                run = self.runs[event.group]
                self.living.remove(run)
                _tell_end(run.row())
                self.on_end()
        for id in dict.fromkeys(event.group for event in events):
            self._look(id)
        self._audience.committed(events)
        if self._resting and not self.slots.taken:
            callbacks, self._resting = self._resting, []
            for done in callbacks:
                done()

    def _look(self, id: str) -> None:
        """Whether anything of the group may still come."""
        over = self.runs.get(id)
        if over is not None and over.idle and not self.journal.is_unwritten(over):
            self._let_go(self.runs.pop(id).leave())

    def _let_go(self, tasks: MutableSequence[TaskState]) -> None:
        """A hundred thousand of them would take a while to be freed."""
        del tasks[-LET_GO_AT_ONCE:]
        if tasks:
            self._clock.call_soon(partial(self._let_go, tasks))

    def _not_committed(self) -> None:
        for run in list(self.runs.values()):
            if self.is_given_up(run):
                self._audience.told(run.id)


def _tell_end(row: GroupRow) -> None:
    seconds = max(0.0, (row.finished_at or row.accepted.wall) - row.accepted.wall)
    told = {"status": row.status.value, "reason": row.reason, "seconds": round(seconds, 3)}
    _log.info("a group is over", extra={"action": "group_finished", "group_id": row.id, "caller": row.caller, **told})
