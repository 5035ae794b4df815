"""The store that forgets at the end of the process: for the simulator and for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from runner.errors import GroupExistsError, GroupNotFoundError, StoreError
from runner.model.event import Event
from runner.store.base import AttemptRow, Batch, GroupRecord, GroupRow, TaskRow


@dataclass(slots=True)
class _Group:
    row: GroupRow
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    attempts: dict[tuple[str, int], AttemptRow] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class MemoryStore:
    """Keeps everything in dictionaries. Needs no asyncio: `sync` answers through `call_soon`, e.g. `Clock.call_soon`."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._groups: dict[str, _Group] = {}
        self._closed = False

    def accept_group(self, row: GroupRow, events: Sequence[Event]) -> None:
        self._check_open()
        if row.id in self._groups:
            raise GroupExistsError(f"the group {row.id} exists already")
        group = _Group(row)
        _check_events(events, {row.id: group})
        group.events.extend(events)
        self._groups[row.id] = group

    def record(self, batch: Batch) -> None:
        self._check_open()
        names = {
            *(row.id for row in batch.groups),
            *(item.group for rows in (batch.tasks, batch.attempts, batch.events) for item in rows),
        }
        touched = {name: self._find(name) for name in names}
        _check_events(batch.events, touched)
        for row in batch.groups:
            group = touched[row.id]
            group.row = replace(row, document=group.row.document, inputs=group.row.inputs)
        for task in batch.tasks:
            touched[task.group].tasks[task.name] = task
        for attempt in batch.attempts:
            touched[attempt.group].attempts[attempt.task, attempt.attempt] = attempt
        for event in batch.events:
            touched[event.group].events.append(event)

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        self._check_open()
        self._call_soon(partial(done, None))

    def group(self, id: str) -> GroupRecord | None:
        self._check_open()
        group = self._groups.get(id)
        if group is None:
            return None
        return GroupRecord(
            group=group.row,
            tasks=sorted(group.tasks.values(), key=lambda row: row.index),
            attempts=[row for _, row in sorted(group.attempts.items())],
            last_event=len(group.events),
        )

    def unfinished(self) -> Sequence[str]:
        self._check_open()
        return [name for name, group in self._groups.items() if not group.row.status.terminal]

    def groups(self, *, limit: int = 100, before: str | None = None) -> Sequence[GroupRow]:
        self._check_open()
        newest_first = list(reversed(self._groups))
        start = 0
        if before is not None:
            self._find(before)
            start = newest_first.index(before) + 1
        page = newest_first[start : start + max(0, limit)]
        return [replace(self._groups[name].row, document=b"", inputs=b"") for name in page]

    def events(self, group: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        self._check_open()
        known = self._groups.get(group)
        start = max(0, after)
        return known.events[start : start + max(0, limit)] if known else []

    def delete_group(self, id: str) -> None:
        self._check_open()
        self._groups.pop(id, None)

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    def _find(self, id: str) -> _Group:
        try:
            return self._groups[id]
        except KeyError:
            raise GroupNotFoundError(f"there is no group {id}") from None


def _check_events(events: Sequence[Event], groups: dict[str, _Group]) -> None:
    """Refuse what a store on disk could not keep: numbers out of order, fields that are not JSON."""
    last = {name: len(group.events) for name, group in groups.items()}
    for event in events:
        if event.group not in last:
            raise GroupNotFoundError(f"there is no group {event.group}")
        if event.number != last[event.group] + 1:
            raise StoreError(f"event {event.number} of group {event.group} does not follow {last[event.group]}")
        last[event.group] = event.number
        if event.fields:
            try:
                json.dumps(event.fields)
            except (TypeError, ValueError) as error:
                raise StoreError(f"event {event.number} of group {event.group} is not plain data: {error}") from error
