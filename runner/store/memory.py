"""The store that forgets at the end of the process: for the simulator and for tests."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from runner.errors import GroupExistsError, GroupNotFoundError, StoreError
from runner.model.event import Event
from runner.model.result import Status
from runner.store.base import (
    AttemptRow,
    Batch,
    FinishedGroup,
    GroupHead,
    GroupPage,
    GroupQuery,
    GroupRecord,
    GroupRow,
    Notice,
    TaskRow,
    Usage,
)


@dataclass(slots=True)
class _Group:
    number: int
    row: GroupRow
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    attempts: dict[tuple[str, int], AttemptRow] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    log_bytes: int | None = None


class MemoryStore:
    """Keeps everything in dictionaries. Needs no asyncio: `sync` answers through `call_soon`, e.g. `Clock.call_soon`."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._groups: dict[str, _Group] = {}
        self._notices: dict[str, Notice] = {}
        self._accepted = 0
        self._closed = False

    def accept_group(self, row: GroupRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> None:
        self._check_open()
        if row.id in self._groups or self.find(row.caller, row.public_id):
            raise GroupExistsError(f"the group {row.public_id} exists already")
        group = _Group(self._accepted + 1, row)
        _check_events(events, {row.id: group})
        group.events.extend(events)
        group.tasks.update({task.name: task for task in tasks})
        self._groups[row.id] = group
        self._accepted += 1

    def record(self, batch: Batch) -> None:
        self._check_open()
        names = {
            *(row.id for row in batch.groups),
            *batch.notices,
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
        for id in batch.notices:
            self._notices[id] = Notice(group=id, message_id=secrets.token_hex(16))

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

    def groups(self, query: GroupQuery = GroupQuery()) -> GroupPage:  # noqa: B008 - it is frozen
        self._check_open()
        fitting = [
            group
            for group in reversed(self._groups.values())
            if (query.before is None or group.number < query.before) and _fits(group.row, query)
        ]
        page = fitting[: max(0, query.limit)]
        more = page[-1].number if page and len(page) < len(fitting) else None
        return GroupPage(rows=[_without_content(group.row) for group in page], next=more)

    def find(self, caller: str, public_id: str) -> str | None:
        self._check_open()
        rows = (group.row for group in self._groups.values())
        return next((row.id for row in rows if (row.caller, row.public_id) == (caller, public_id)), None)

    def head(self, id: str) -> GroupHead | None:
        self._check_open()
        group = self._groups.get(id)
        return GroupHead(group=_without_content(group.row), last_event=len(group.events)) if group else None

    def document(self, id: str) -> bytes:
        self._check_open()
        return self._find(id).row.document

    def tasks(self, group: str, names: Sequence[str]) -> Sequence[TaskRow]:
        self._check_open()
        known = self._groups.get(group)
        rows = (known.tasks[name] for name in set(names) if name in known.tasks) if known else ()
        return sorted(rows, key=lambda row: row.index)

    def tasks_in(self, group: str, statuses: Collection[Status], limit: int) -> Sequence[TaskRow]:
        self._check_open()
        known = self._groups.get(group)
        rows = sorted(known.tasks.values(), key=lambda row: row.index) if known else []
        return [row for row in rows if row.status in statuses][: max(0, limit)]

    def attempts(self, group: str, task: str) -> Sequence[AttemptRow]:
        self._check_open()
        known = self._groups.get(group)
        rows = sorted(known.attempts.values(), key=lambda row: row.attempt) if known else []
        return [row for row in rows if row.task == task]

    def task_counts(self, group: str) -> Mapping[Status, int]:
        self._check_open()
        known = self._groups.get(group)
        return Counter(row.status for row in known.tasks.values()) if known else {}

    def events(self, group: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        self._check_open()
        known = self._groups.get(group)
        start = max(0, after)
        return known.events[start : start + max(0, limit)] if known else []

    def delete_group(self, id: str) -> None:
        self._check_open()
        self._groups.pop(id, None)
        self._notices.pop(id, None)

    def reseal(self, id: str, digest: str, inputs: bytes, outputs: Mapping[str, bytes]) -> None:
        self._check_open()
        group = self._find(id)
        group.row = replace(group.row, digest=digest, inputs=inputs)
        for name, sealed in outputs.items():
            if name in group.tasks:
                group.tasks[name] = replace(group.tasks[name], outputs=sealed)

    def compact(self) -> None:
        self._check_open()

    def purge(self, rows: int) -> bool:
        self._check_open()
        return False

    def removed(self) -> Sequence[str]:
        self._check_open()
        return []

    def finished(self, after: FinishedGroup | None = None, limit: int = 100) -> Sequence[FinishedGroup]:
        self._check_open()
        found = sorted(
            (_finished(group) for id, group in self._over() if id not in self._notices),
            key=lambda group: (group.finished_at, group.number),
        )
        if after is not None:
            place = (after.finished_at, after.number)
            found = [group for group in found if (group.finished_at, group.number) > place]
        return found[: max(0, limit)]

    def usage(self) -> Usage:
        self._check_open()
        over = [group.log_bytes or 0 for _, group in self._over()]
        return Usage(groups=len(over), log_bytes=sum(over))

    def used_bytes(self) -> int:
        self._check_open()
        return 0

    def unmeasured(self, limit: int = 100) -> Sequence[str]:
        self._check_open()
        return [id for id, group in self._over() if group.log_bytes is None][: max(0, limit)]

    def measured(self, log_bytes: Mapping[str, int]) -> None:
        self._check_open()
        for id, size in log_bytes.items():
            if id in self._groups:
                self._groups[id].log_bytes = size

    def notices(self, due: float, limit: int = 100) -> Sequence[Notice]:
        self._check_open()
        found = sorted((notice for notice in self._notices.values() if notice.due <= due), key=lambda item: item.due)
        return found[: max(0, limit)]

    def next_notice(self) -> float | None:
        self._check_open()
        return min((notice.due for notice in self._notices.values()), default=None)

    def postpone(self, notice: Notice) -> None:
        self._check_open()
        if notice.group in self._notices:
            self._notices[notice.group] = notice

    def is_announced(self, group: str) -> bool:
        self._check_open()
        return group in self._notices

    def settle(self, group: str) -> None:
        self._check_open()
        self._notices.pop(group, None)

    def _over(self) -> list[tuple[str, _Group]]:
        return [(id, group) for id, group in self._groups.items() if group.row.status.terminal]

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


def _finished(group: _Group) -> FinishedGroup:
    row = group.row
    return FinishedGroup(
        id=row.id,
        number=group.number,
        finished_at=row.finished_at or 0.0,
        accepted=row.accepted,
        log_bytes=group.log_bytes or 0,
    )


def _without_content(row: GroupRow) -> GroupRow:
    return replace(row, document=b"", inputs=b"")


def _fits(row: GroupRow, query: GroupQuery) -> bool:
    accepted = row.accepted.wall
    return (
        query.caller in (None, row.caller)
        and (not query.statuses or row.status in query.statuses)
        and (query.accepted_from is None or accepted >= query.accepted_from)
        and (query.accepted_before is None or accepted < query.accepted_before)
        and all(name in row.labels and text in ("", row.labels[name]) for name, text in query.labels.items())
    )


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
