"""Reads a group's events as a watcher would, and compares what they tell with the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.model import codec
from runner.model.event import Event, Kind
from runner.model.result import Status
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


def replay(record: GroupRecord, events: Sequence[Event]) -> Iterator[str]:
    """What the events tell wrongly."""
    group = codec.decode_group(record.group.document)
    tasks = {task.name: task for task in group.tasks}
    told = {name: _Told() for name in tasks}
    finished: tuple[object, object] | None = None
    notices = set()
    for number, event in enumerate(events, start=1):
        if event.number != number:
            yield f"event {event.number} stands where {number} was expected"
        if finished is not None and event.kind is not Kind.LATE_RESULT:
            yield f"event {number} ({event.kind}) comes after the end of the group"
        if event.kind is Kind.GROUP_FINISHED:
            finished = event.fields.get("status"), event.fields.get("reason")
        if event.task is None:
            continue
        task = told[event.task]
        if event.kind is Kind.MASK_SKIPPED:
            notice = event.task, event.attempt, event.fields["name"]
            if notice in notices:
                yield f"event {number} repeats the notice {notice}"
            notices.add(notice)
        if event.kind is Kind.TASK_DISPATCHED:
            open_edges = [name for name in tasks[event.task].edges if not told[name].terminal]
            if open_edges:
                yield f"event {number}: {event.task} was dispatched before {', '.join(open_edges)} ended"
        yield from _tell(task, event)
    if finished is None:
        yield "no event tells the end of the group"
    elif finished != (record.group.status.value, record.group.reason):
        yield f"events tell that the group ended {finished}, its row {record.group.status, record.group.reason}"
    if record.last_event != len(events):
        yield f"the record counts {record.last_event} events, there are {len(events)}"
    for row in record.tasks:
        task = told.pop(row.name)
        by_events = task.status, task.reason, task.because_of, task.attempt
        by_row = row.status, row.reason, row.because_of, row.attempt
        if by_events != by_row:
            yield f"events tell that {row.name} ended {by_events}, its row {by_row}"
    for name in told:
        yield f"{name} has no row"


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
    elif kind is Kind.TASK_RETRYING:
        task.status = Status.PENDING
    elif kind is Kind.TASK_FINISHED:
        task.status = Status(fields["status"])
        task.reason, task.because_of = fields.get("reason"), fields.get("because_of")
    elif kind is Kind.TASK_SKIPPED:
        task.status = Status.SKIPPED
        task.reason, task.because_of = fields.get("reason"), fields.get("because_of")
