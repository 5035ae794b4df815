"""Reads a group's events as a watcher would, and compares what they tell with the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.model import codec
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.result import Abort, Status
from runner.store.base import GroupRecord


@dataclass(slots=True)
class _Told:
    status: Status = Status.PENDING
    reason: str | None = None
    because_of: str | None = None
    attempt: int = 0
    started: int = 0

    @property
    def terminal(self) -> bool:
        return self.status.terminal


@dataclass(slots=True)
class _Abort:
    reason: str | None = None
    because_of: str | None = None
    count: int = 0

    def tell(self, event: Event) -> Iterator[str]:
        reason = event.fields["reason"]
        count = event.fields.get("count")  # a runner that ends by itself what it was given has none
        if reason == Abort.CANCELLED and count is not None:
            self.count += 1
            if count != self.count:
                yield f"event {event.number} is the cancel {count}, expected {self.count}"
        elif self.reason is not None and (self.reason != Abort.FAIL_FAST or reason == Abort.FAIL_FAST):
            yield f"event {event.number} tells of {reason}, which changes nothing after {self.reason}"
        if self.reason in (None, Abort.FAIL_FAST):
            self.reason, self.because_of = reason, event.fields.get("because_of")


class _Reader:
    """What a watcher knows after each event."""

    def __init__(self, group: TaskGroup) -> None:
        self._tasks = {task.name: task for task in group.tasks}
        self.told = {name: _Told() for name in self._tasks}
        self.abort = _Abort()
        self.starts = 0
        self.finished: tuple[object, object] | None = None
        self._notices: set[tuple[object, ...]] = set()

    def read(self, event: Event) -> Iterator[str]:
        kind = event.kind
        if self.finished is not None and kind is not Kind.LATE_RESULT:
            yield f"event {event.number} ({kind}) comes after the end of the group"
        if kind is Kind.GROUP_STARTED:
            self.starts += 1
        elif kind is Kind.GROUP_FINISHED:
            self.finished = event.fields.get("status"), event.fields.get("reason")
        elif kind is Kind.CANCEL_REQUESTED:
            yield from self.abort.tell(event)
        if event.task is not None:
            yield from self._read_of_task(event, event.task)

    def _read_of_task(self, event: Event, name: str) -> Iterator[str]:
        if event.kind is Kind.MASK_SKIPPED:
            notice = name, event.attempt, event.fields["name"]
            if notice in self._notices:
                yield f"event {event.number} repeats the notice {notice}"
            self._notices.add(notice)
        if event.kind is Kind.TASK_DISPATCHED:
            if not self.starts:
                yield f"event {event.number}: {name} was dispatched before the group started"
            if missing := [edge for edge in self._tasks[name].edges if not self.told[edge].terminal]:
                yield f"event {event.number}: {name} was dispatched before {', '.join(missing)} ended"
        yield from _tell(self.told[name], event)


def replay(record: GroupRecord, events: Sequence[Event]) -> Iterator[str]:
    """What the events tell wrongly."""
    reader = _Reader(codec.decode_group(record.group.document))
    for number, event in enumerate(events, start=1):
        if event.number != number:
            yield f"event {event.number} stands where {number} was expected"
        yield from reader.read(event)
    row = record.group
    if reader.starts != 1:
        yield f"{reader.starts} events tell the start of the group"
    if reader.finished != (row.status.value, row.reason):
        yield f"events tell that the group ended {reader.finished}, its row {row.status, row.reason}"
    abort = reader.abort.reason, reader.abort.because_of, reader.abort.count
    if abort != (row.abort, row.abort_because_of, row.abort_count):
        yield f"events tell of the abort {abort}, the row {row.abort, row.abort_because_of, row.abort_count}"
    if record.last_event != len(events):
        yield f"the record counts {record.last_event} events, there are {len(events)}"
    rows = {task.name: task for task in record.tasks}
    for name, told in reader.told.items():
        task = rows.get(name)
        by_events = told.status, told.reason, told.because_of, told.attempt
        by_row = (task.status, task.reason, task.because_of, task.attempt) if task else None
        if by_events != by_row:
            yield f"events tell that {name} ended {by_events}, its row {by_row}"


def _tell(task: _Told, event: Event) -> Iterator[str]:
    kind, fields = event.kind, event.fields
    if kind is Kind.LATE_RESULT:
        return
    if task.terminal:
        yield f"event {event.number} ({kind}) comes after the end of {event.task}"
    if kind is Kind.TASK_DISPATCHED:
        if task.status is not Status.PENDING or event.attempt != task.attempt + 1:
            yield f"event {event.number}: attempt {event.attempt} of {event.task} follows attempt {task.attempt}, {task.status}"
        task.status, task.attempt = Status.RUNNING, event.attempt or 0
    elif kind is Kind.TASK_STARTED:
        if event.attempt != task.attempt or task.started == task.attempt:
            yield f"event {event.number}: {event.task} started twice, or an attempt that was not dispatched"
        task.started = task.attempt
    elif kind in (Kind.TASK_RETRYING, Kind.TASK_HELD):
        task.status = Status.PENDING
    elif kind is Kind.TASK_FINISHED:
        task.status = Status(fields["status"])
        task.reason, task.because_of = fields.get("reason"), fields.get("because_of")
    elif kind is Kind.TASK_SKIPPED:
        task.status = Status.SKIPPED
        task.reason, task.because_of = fields.get("reason"), fields.get("because_of")
