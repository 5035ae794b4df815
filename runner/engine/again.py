"""A group that is over, once more: what was successful is taken over, and the rest, with all that follows from it, runs again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from runner.engine import guests, variables
from runner.engine.admission import Submission, sealed
from runner.engine.document import Document
from runner.engine.graph import Graph, build
from runner.engine.rules import SATISFYING_SKIPS
from runner.engine.services import input_context, output_context
from runner.errors import UsageError
from runner.model import codec
from runner.model.fault import no_such_task
from runner.model.result import Status
from runner.model.task import Task, When
from runner.sealing import Sealer
from runner.store.base import GroupRecord, StoreReader, TaskRow


class Again(Struct, frozen=True, kw_only=True):
    """What is to be submitted, and the names of the tasks that will run (or be decided) again, in the order of the document."""

    submission: Submission
    tasks: tuple[str, ...]


def prepare(record: GroupRecord, sealer: Sealer, id: str, public_id: str, beginning: Collection[str] = ()) -> Again:
    """The group of `record` as one that its caller will call `public_id` and the engine `id`. It begins at the tasks named `beginning`, without any
    at all that did not succeed, unless they were allowed to. May be called from any thread.

    Raises UsageError where it is not over, or nothing of it is to be done again, or something of that could not run.
    """
    row = record.group
    if guests.is_guest(row.id):
        raise UsageError("the group belongs to another runner: run it again there")
    if not row.status.terminal:
        raise UsageError(f"the group {row.public_id} is not over: wait for its end, or cancel it")
    stored = codec.decode_values(row.inputs, partial(sealer.unseal, context=input_context(row.id)))
    group, inputs = variables.with_secrets(codec.decode_group(row.document), stored)
    if group.forward is not None:
        raise UsageError(
            "the group is carried out by another runner as a whole, which takes nothing over: submit it again"
        )
    document = Document(group, build(group.tasks), len(row.document))
    rows = {task.name: task for task in record.tasks}
    wanted = _wanted(document, rows, beginning)
    if not wanted:
        raise UsageError(f"all of the group {row.public_id} was successful: name a task to begin at with --from")
    if beginning:
        _check_edges(document, rows, wanted)
    kept = [
        _taken_over(rows[task.name], row.id, id, sealer)
        for index, task in enumerate(group.tasks)
        if index not in wanted
    ]
    submission = sealed(replace(group, id=public_id), inputs, sealer, id)
    return Again(
        submission=replace(
            submission,
            digest=_digest(submission.digest, row.id, kept),
            former_digest=None if submission.former_digest is None else _digest(submission.former_digest, row.id, kept),
            kept=tuple(kept),
            again=row.public_id,
            concurrency=variables.concurrency_key(group, inputs),
        ),
        tasks=tuple(task.name for index, task in enumerate(group.tasks) if index in wanted),
    )


def former_of(store: StoreReader, id: str) -> str | None:
    """The group that this one does again, as its caller calls it; None for one that does none again, or of which nobody knows that
    any more."""
    return next((event.fields.get("again") for event in store.events(id, limit=1)), None)


def _wanted(document: Document, rows: dict[str, TaskRow], beginning: Collection[str]) -> set[int]:
    """By index: what is done again, with all that depends on it."""
    graph, tasks = document.graph, document.group.tasks
    for name in beginning:
        if name not in graph.index:
            raise UsageError(no_such_task(name, graph.index))
    if beginning:
        left = [graph.index[name] for name in beginning]
        left += [instance for index in left if tasks[index].joins for instance in graph.parents[index]]
    else:
        left = [index for index, task in enumerate(tasks) if not _is_settled(task, rows.get(task.name))]
    return _followed(graph, left)


def _followed(graph: Graph, left: list[int]) -> set[int]:
    found: set[int] = set()
    while left:
        index = left.pop()
        if index not in found:
            found.add(index)
            left += graph.children[index]
    return found


def _is_settled(task: Task, row: TaskRow | None) -> bool:
    """Whether the task had the end that its document means for it."""
    if row is None:
        return False
    if row.status is Status.SKIPPED:
        return row.reason in SATISFYING_SKIPS
    return row.status is Status.SUCCESS or (task.allow_failure and row.status in (Status.FAILED, Status.ERRORED))


def _check_edges(document: Document, rows: dict[str, TaskRow], wanted: set[int]) -> None:
    """Raises UsageError where a task would be skipped for one that stays as it is."""
    tasks, parents = document.group.tasks, document.graph.parents
    for index in sorted(wanted):
        for parent in parents[index]:
            needs = tasks[index].when is When.SUCCESS or tasks[index].joins
            if needs and parent not in wanted and not _is_settled(tasks[parent], rows.get(tasks[parent].name)):
                raise UsageError(
                    f"the task {tasks[index].name!r} depends on {tasks[parent].name!r}, which did not succeed: begin there"
                )


def _taken_over(row: TaskRow, former: str, id: str, sealer: Sealer) -> TaskRow:
    outputs = None
    if row.outputs is not None:
        values = codec.decode_values(row.outputs, partial(sealer.unseal, context=output_context(former, row.name)))
        outputs = codec.encode_values(values, partial(sealer.seal, context=output_context(id, row.name)))
    return replace(row, group=id, outputs=outputs, cached=row.cached or row.status is Status.SUCCESS)


def _digest(digest: str, former: str, kept: Sequence[TaskRow]) -> str:
    names = "\n".join(row.name for row in kept)
    return hashlib.sha256(f"{digest}\n{former}\n{names}".encode()).hexdigest()
