"""Rows to and from the columns of the database, in the order in which `sql/queries.sql` names them.

The functions come in pairs: `…_values` gives columns, `…_row` takes them. They stand on the hot path, hence tuples by
position and no reflection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from runner.clock import Moment
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.store.base import AttemptRow, FinishedGroup, GroupQuery, GroupRow, Notice, TaskRow

Values = tuple[Any, ...]

_encode = msgspec.json.Encoder().encode


def _json(plain: Mapping[str, Any]) -> str:
    try:
        return _encode(plain).decode()
    except UnicodeEncodeError:
        # A text that is not encodable (a file's name in an error) is no reason to lose an event: as ASCII it can be kept.
        return json.dumps(plain)


def _moment_text(moment: Moment | None) -> str | None:
    return None if moment is None else f"{moment.wall!r} {moment.boot!r} {moment.boot_id}"


def _moment(text: str) -> Moment:
    wall, boot, boot_id = text.split(" ", 2)
    return Moment(float(wall), float(boot), boot_id)


def _moment_or_none(text: str | None) -> Moment | None:
    return None if text is None else _moment(text)


def group_values(row: GroupRow) -> Values:
    """All columns but `number`."""
    return (
        row.id,
        row.public_id,
        row.caller,
        row.name,
        row.digest,
        row.task_count,
        _json(row.labels),
        row.workspace,
        row.status.value,
        row.reason,
        _moment_text(row.accepted),
        row.started_at,
        row.finished_at,
        row.abort,
        row.abort_because_of,
        _moment_text(row.abort_at),
        row.abort_count,
        row.traceparent,
        row.concurrency,
        row.waits_for,
        row.replaced_by,
        _moment_text(row.rests_since),
        row.rested,
        row.pause_on_failure,
        row.paused_by,
    )


def group_row(values: Values) -> GroupRow:
    """From the columns of `group_values`, `document` and `inputs`."""
    return GroupRow(
        id=values[0],
        public_id=values[1],
        caller=values[2],
        name=values[3],
        digest=values[4],
        task_count=values[5],
        labels=json.loads(values[6]),
        workspace=values[7],
        status=Status(values[8]),
        reason=values[9],
        accepted=_moment(values[10]),
        started_at=values[11],
        finished_at=values[12],
        abort=values[13],
        abort_because_of=values[14],
        abort_at=_moment_or_none(values[15]),
        abort_count=values[16],
        traceparent=values[17],
        concurrency=values[18],
        waits_for=values[19],
        replaced_by=values[20],
        rests_since=_moment_or_none(values[21]),
        rested=values[22],
        pause_on_failure=bool(values[23]),
        paused_by=values[24],
        document=values[25],
        inputs=values[26],
    )


def finished_group(values: Values) -> FinishedGroup:
    """From the columns of `select_finished`."""
    return FinishedGroup(
        id=values[0], number=values[1], finished_at=values[2], accepted=_moment(values[3]), log_bytes=values[4]
    )


def notice(values: Values) -> Notice:
    """From the columns of `select_notices`."""
    return Notice(group=values[0], message_id=values[1], tries=values[2], due=values[3])


def query_values(query: GroupQuery, *, newest: int, scan: int) -> dict[str, Any]:
    """The parameters of `select_groups`."""
    return {
        "before": newest if query.before is None else query.before,
        "caller": query.caller,
        "statuses": json.dumps(sorted(query.statuses)) if query.statuses else None,
        "labels": _json(query.labels),
        "accepted_from": query.accepted_from,
        "accepted_before": query.accepted_before,
        "limit": max(0, query.limit),
        "scan": scan,
    }


def task_values(group_number: int, row: TaskRow) -> Values:
    return (
        group_number,
        row.name,
        row.index,
        row.status.value,
        row.waiting,
        row.reason,
        row.because_of,
        row.attempt,
        row.cached,
        row.outputs,
        row.exit_code,
        row.signal,
        row.error,
        row.kill,
        row.runner,
        row.started_at,
        row.finished_at,
        _moment_text(row.retry_at),
    )


def task_row(group: str, values: Values) -> TaskRow:
    """From all columns but the group's number."""
    return TaskRow(
        group=group,
        name=values[0],
        index=values[1],
        status=Status(values[2]),
        waiting=values[3],
        reason=values[4],
        because_of=values[5],
        attempt=values[6],
        cached=bool(values[7]),
        outputs=values[8],
        exit_code=values[9],
        signal=values[10],
        error=values[11],
        kill=values[12],
        runner=values[13],
        started_at=values[14],
        finished_at=values[15],
        retry_at=_moment_or_none(values[16]),
    )


def attempt_values(group_number: int, row: AttemptRow) -> Values:
    return (
        group_number,
        row.task,
        row.attempt,
        row.status.value,
        row.runner,
        row.instance,
        row.handle,
        row.sequence,
        _moment_text(row.dispatched),
        row.started_at,
        row.finished_at,
        _moment_text(row.cancel_at),
        row.cancel_grace,
        row.outcome,
        row.paused,
    )


def attempt_row(group: str, values: Values) -> AttemptRow:
    """From all columns but the group's number."""
    return AttemptRow(
        group=group,
        task=values[0],
        attempt=values[1],
        status=Status(values[2]),
        runner=values[3],
        instance=values[4],
        handle=values[5],
        sequence=values[6],
        dispatched=_moment(values[7]),
        started_at=values[8],
        finished_at=values[9],
        cancel_at=_moment_or_none(values[10]),
        cancel_grace=values[11],
        outcome=values[12],
        paused=bool(values[13]),
    )


def event_values(group_number: int, event: Event) -> Values:
    """Raises TypeError or ValueError when the fields are not plain data."""
    fields = _json(event.fields) if event.fields else "{}"
    return (group_number, event.number, event.at, event.kind.value, event.task, event.attempt, fields)


def event(group: str, values: Values) -> Event:
    """From all columns but the group's number."""
    return Event(
        group=group,
        number=values[0],
        at=values[1],
        kind=Kind(values[2]),
        task=values[3],
        attempt=values[4],
        fields=json.loads(values[5]),
    )
