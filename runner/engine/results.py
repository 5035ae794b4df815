"""The Task Group Result, from what the store holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from runner.clock import rfc3339
from runner.engine import turns
from runner.engine.graph import Graph, build
from runner.engine.services import output_context
from runner.engine.state import NO_TEXTS
from runner.model import codec
from runner.model.group import TaskGroup
from runner.model.result import Reason, Status, TaskGroupResult, TaskResult, Waiting
from runner.model.task import Scope, Task
from runner.model.value import Value
from runner.sealing import Sealer
from runner.store.base import GroupRecord, GroupRow, TaskRow


def group_result(record: GroupRecord, sealer: Sealer) -> TaskGroupResult:
    """The result so far: every task of the document appears, with its reason to wait if it is not terminal."""
    row = record.group
    group = codec.decode_group(row.document)
    rows = {task.name: task for task in record.tasks}
    tasks = task_results(row, group, build(group.tasks), rows, range(len(group.tasks)), sealer)
    return TaskGroupResult(
        id=row.public_id,
        name=row.name,
        status=row.status,
        reason=row.reason,
        labels=row.labels,
        concurrency=row.concurrency,
        waits_for=row.waits_for if turns.is_waiting(row) else None,
        replaced_by=row.replaced_by,
        paused_by=row.paused_by,
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at),
        results={task.name: task for task in tasks},
    )


def not_written(row: GroupRow, tasks: Sequence[TaskRow], sealer: Sealer) -> TaskGroupResult:
    """The result of a group that is over although that cannot be recorded; the rows are what should be."""
    result = group_result(GroupRecord(group=row, tasks=tasks, attempts=[], last_event=0), sealer)
    return replace(result, status=Status.ERRORED, reason=Reason.STATE_NOT_WRITTEN)


def task_results(
    row: GroupRow, group: TaskGroup, graph: Graph, rows: Mapping[str, TaskRow], indices: Iterable[int], sealer: Sealer
) -> list[TaskResult]:
    """Of the tasks with these `indices`, by the `rows` that they, and those that they wait for, have."""
    results = []
    for index in indices:
        task = group.tasks[index]
        known = rows.get(task.name)
        if known is not None:
            results.append(_task_result(row, task, known, sealer))
        else:
            waiting = _waiting(row, group, graph, rows, index)
            pending = TaskResult(
                id=_id(row, task), name=task.name, status=Status.PENDING, waiting=waiting, matrix=_values(task)
            )
            results.append(pending)
    return results


def _task_result(group: GroupRow, task: Task, row: TaskRow, sealer: Sealer) -> TaskResult:
    unseal = partial(sealer.unseal, context=output_context(group.id, task.name))
    outputs = codec.decode_values(row.outputs, unseal) if row.outputs else {}
    return TaskResult(
        id=_id(group, task),
        name=task.name,
        status=row.status,
        reason=row.reason,
        because_of=row.because_of,
        waiting=Waiting(row.waiting) if row.waiting else None,
        outputs=_global(task, outputs),
        exit_code=row.exit_code,
        signal=row.signal,
        cached=row.cached,
        attempts=row.attempt,
        runner=row.runner,
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at),
        error=row.error,
        kill=json.loads(row.kill) if row.kill else None,
        matrix=_values(task),
    )


def _values(task: Task) -> Mapping[str, str]:
    return NO_TEXTS if task.matrix is None else task.matrix.values


def _id(group: GroupRow, task: Task) -> str:
    return f"{group.public_id}/{task.name}"


def _global(task: Task, outputs: Mapping[str, Value]) -> dict[str, Value]:
    shown = {export.name for export in task.exports if export.scope is Scope.GLOBAL}
    return {name: value for name, value in outputs.items() if name in shown}


def _waiting(row: GroupRow, group: TaskGroup, graph: Graph, rows: Mapping[str, TaskRow], index: int) -> Waiting:
    for parent in graph.parents[index]:
        before = rows.get(group.tasks[parent].name)
        if before is None or not before.status.terminal:
            return Waiting.DEPENDENCY
    if row.paused_by is not None:
        return Waiting.PAUSED
    return Waiting.CONCURRENCY if turns.is_waiting(row) else Waiting.SLOT


def _time(wall: float | None) -> str | None:
    return None if wall is None else rfc3339(wall)
