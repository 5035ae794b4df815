"""Where an attempt ran, and what it was given, from what is recorded of its group."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from msgspec.structs import replace

from runner.engine import guests, variables
from runner.engine.services import input_context, output_context
from runner.engine.state import NO_TEXTS
from runner.errors import GroupNotFoundError, NoShellError
from runner.model import codec
from runner.model.fault import no_such_task
from runner.model.result import Status
from runner.model.shell import ShellPlace
from runner.model.task import Task
from runner.model.value import Bindings
from runner.sealing import Sealer
from runner.store.base import GroupRecord


def place_of(record: GroupRecord, sealer: Sealer, name: str, attempt: int = 0) -> ShellPlace:
    """That of an attempt at the task of this name, the last one for 0. May be called from any thread. Raises GroupNotFoundError
    for a task or an attempt that there is not, NoShellError for a task that did not run."""
    row = record.group
    stored = codec.decode_values(row.inputs, partial(sealer.unseal, context=input_context(row.id)))
    group, inputs = variables.with_secrets(codec.decode_group(row.document), stored)
    tasks = {task.name: task for task in group.tasks}
    if name not in tasks:
        raise GroupNotFoundError(no_such_task(name, tasks))
    task = tasks[name]
    rows = {one.name: one for one in record.tasks}
    last = rows[name].attempt if name in rows else 0
    if task.joins:
        raise NoShellError(f"nothing runs for {name!r} itself: name one of its instances, as `runner get` shows them")
    if not last:
        status = rows[name].status if name in rows else Status.PENDING
        raise NoShellError(
            f"the task {name!r} has not run, so there is no place to look at: it is {status}; `runner explain` says why"
        )
    if attempt > last:
        raise GroupNotFoundError(f"the task {name!r} has no attempt {attempt}: the last one was {last}")
    number = attempt or last
    made = next((one for one in record.attempts if (one.task, one.attempt) == (name, number)), None)

    def source(other: str) -> variables.Source:
        known = rows.get(other)
        if known is None:
            return variables.Source(tasks[other], Status.PENDING, None, {})
        unseal = partial(sealer.unseal, context=output_context(row.id, other))
        outputs = codec.decode_values(known.outputs, unseal) if known.outputs else {}
        return variables.Source(tasks[other], known.status, known.reason, outputs)

    lodging = guests.lodging(inputs)
    bindings = guests.bindings(inputs)
    if bindings is not None:
        bindings = replace(bindings, matrix=_values(task)) if task.matrix else bindings
    else:
        imports = variables.imported(task, source)
        if isinstance(imports, str):
            raise NoShellError(f"what the task {name!r} imports from {imports!r} is not kept")
        bindings = Bindings(
            imports=imports,
            inputs=guests.own_inputs(inputs),
            env=group.env,
            matrix=_values(task),
            group_id=row.public_id if lodging is None else lodging.group_id,
            group_name=group.name,
            task_name=name,
            task_attempt=number,
        )
    return ShellPlace(
        group=row.id,
        task=task,
        attempt=number,
        bindings=bindings,
        workspace=row.workspace,
        whole=group.forward is not None,
        runner=(made.runner if made is not None else rows[name].runner) or "",
    )


def _values(task: Task) -> Mapping[str, str]:
    return NO_TEXTS if task.matrix is None else task.matrix.values
