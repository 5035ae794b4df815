"""What happens at start-up: the groups of a former engine go on as if nothing had happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from runner.dispatch.base import Dispatcher
from runner.engine import retry, variables
from runner.engine.group_run import GroupRun
from runner.engine.outputs import output_bytes
from runner.engine.services import Services, input_context, output_context
from runner.engine.state import AttemptState, TaskState
from runner.model import codec
from runner.model.dispatch import WHOLE, AttemptId
from runner.model.result import Status, Waiting
from runner.store.base import GroupRecord, TaskRow


def restore(record: GroupRecord, services: Services) -> GroupRun:
    """The run of a recorded, unfinished group, with its state as the last commit left it. Nothing is set in motion yet."""
    row = record.group
    unseal = services.sealer.unseal
    stored = codec.decode_values(row.inputs, partial(unseal, context=input_context(row.id)))
    run = GroupRun(row, *variables.with_secrets(codec.decode_group(row.document), stored), services)
    run.last_event = record.last_event
    run.abortion.restore(row)
    latest = {attempt.task: attempt for attempt in record.attempts}
    whole = latest.get(WHOLE)
    if run.entrusted is not None and whole is not None:
        run.entrusted.restore(AttemptState.restored(whole, services.targets))
    run.attempts.runners.update(attempt.runner for attempt in record.attempts)
    for task_row in record.tasks:
        state = _taken(run, task_row)
        attempt = latest.get(task_row.name)
        if attempt is not None:
            state.attempt = AttemptState.restored(attempt, services.targets)
            state.outcome = state.attempt.outcome
        if state.status is Status.RUNNING:
            assert state.attempt is not None, "a running task has an attempt"
            if not run.is_elsewhere:
                run.attempts.begun(state.attempt, resumed=True)
            run.running.add(state.index)
        elif state.status is Status.PENDING:
            run.pausing.restore(state)
    _recount(run)
    return run


def take_over(run: GroupRun, rows: Sequence[TaskRow]) -> None:
    """Of a new group: these tasks are over already. Nothing is set in motion yet."""
    for row in rows:
        _taken(run, row)
    if rows:
        _recount(run)


def _taken(run: GroupRun, row: TaskRow) -> TaskState:
    """The state of a task as its row has it."""
    state = run.tasks[run.graph.index[row.name]]
    _apply(state, row)
    if row.outputs:
        unseal = partial(run.services.sealer.unseal, context=output_context(run.id, row.name))
        state.outputs = codec.decode_values(row.outputs, unseal)
    run.output_bytes += output_bytes(state.outputs)
    return state


def resume(run: GroupRun) -> list[AttemptId]:
    """Set a restored run in motion: reach for its attempts, arm its timers, decide. Returns the attempts that still run here."""
    live = []
    for state in () if run.is_elsewhere else run.tasks:
        if state.status is Status.RUNNING:
            attempt = run.attempts.resume(state)
            if not attempt.forwarded:
                live.append(attempt.id)
        elif state.retry_at is not None:
            retry.arm(run, state)
    run.start()
    run.pausing.resume()
    if run.entrusted is not None:
        run.entrusted.resume()
    return live


def reconcile(services: Services, live: list[AttemptId]) -> None:
    """Let every executor end what it has of a former engine and is not wanted any more; `live` are the attempts that still run here."""
    targets, journal = services.targets, services.journal
    journal.then(lambda: targets.here.reconcile(live))
    for executor in targets.all():
        if executor is not targets.here:
            # Behind what it is handed again. What it has been chosen for by then for the first time is wanted there too.
            journal.once_durable(partial(journal.anyway, partial(_reconcile_abroad, executor, services)), written=True)


def _reconcile_abroad(executor: Dispatcher, services: Services) -> None:
    executor.reconcile(services.abroad.at(executor.name))


def _apply(state: TaskState, row: TaskRow) -> None:
    state.status = row.status
    state.waiting = Waiting(row.waiting) if row.waiting else None
    state.reason = row.reason
    state.because_of = row.because_of
    state.attempts = row.attempt
    state.started_at = row.started_at
    state.finished_at = row.finished_at
    state.retry_at = row.retry_at


def _recount(run: GroupRun) -> None:
    """What is counted while a group runs, from its rows: open tasks, missing edges, trouble, in topological order."""
    parents, children = run.graph.parents, run.graph.children
    left = [len(its) for its in parents]
    order = deque(index for index, count in enumerate(left) if count == 0)
    while order:
        index = order.popleft()
        state = run.tasks[index]
        terminal = state.status.terminal
        if terminal:
            state.troubled = state.trouble or any(run.tasks[parent].troubled for parent in parents[index])
            run.count(state)
        for child in children[index]:
            left[child] -= 1
            if terminal:
                run.tasks[child].missing -= 1
            if left[child] == 0:
                order.append(child)
