"""Compares a world that was played with the reference model, and with what must hold in any world.

How sharp the comparison is depends on what the specification leaves open:
- exact (every status, reason, cause, attempt, output and time, and so the order in which slots are given), crashes or not; but
  for groups that share slots only without crashes, since the turns are not recorded;
- without times, when nothing can cut this group short or hold it up, but turns, ties or a fault that took its time decide what
  happens when: what becomes of the tasks may not depend on that;
- task by task (`consistent`): each must be what its recorded dependencies and attempts make of it, when the moment decides
  which tasks an early end or a signal meets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial

from runner.engine.group_run import END_PATIENCE_SECONDS
from runner.engine.journal import STORE_RETRY_SECONDS
from runner.engine.services import output_context
from runner.model import codec
from runner.model.dispatch import RETRY, WHOLE, AttemptId
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status, TaskResult
from runner.model.task import Scope, Task, When
from runner.model.value import Value
from runner.simulator import abroad, lanes, pauses
from runner.simulator.models import GroupModel, TaskModel
from runner.simulator.reference import CONFIRM_SECONDS, GRACE_SECONDS, Reference
from runner.simulator.replay import replay
from runner.simulator.rules import End, Errored, Joins, Runs, decide, group_status, has_ended_others, retried
from runner.simulator.scenario import PEER, Scenario, Submission
from runner.simulator.script import DESTROYED, TIMED_OUT, OnStop
from runner.simulator.world import SEALER, Played
from runner.store.base import AttemptRow, TaskRow

TOLERANCE_SECONDS = 1e-4
ROUNDED_SECONDS = 2e-3
"""For what events tell in milliseconds."""
GIVEN_UP = {"confirmed": False}
"""The kill report of an attempt that nobody said anything more of."""


def differences(scenario: Scenario, played: Played) -> list[str]:
    """Everything that is not as it should be, in words; empty when all is well."""
    return [
        *played.complaints,
        *_executor(scenario, played),
        *(f"{id}: {text}" for id in played.records for text in replay(played.records[id], played.events[id])),
        *_heard(scenario, played),
        *_groups(scenario, played),
        *abroad.differences(scenario, played),
        *lanes.differences(scenario, played),
        *pauses.differences(scenario, played),
    ]


def _groups(scenario: Scenario, played: Played) -> Iterator[str]:
    reference = Reference(scenario).play()
    turns_known = not scenario.slots_matter or (
        not scenario.ties and (not played.crashes or len(scenario.submissions) == 1)
    )
    # Whoever has to hand an attempt to another machine once more does that a moment later.
    known = turns_known and not played.faults.delaying and not (scenario.forwards and played.crashes)
    certain = not played.interrupted and not (scenario.forwards and played.faults.may_lose(scenario.lost_after))
    if known and not (scenario.ties and any(map(scenario.is_disturbed, scenario.submissions))):
        yield from _dispatches(reference, played)
    for submission in scenario.submissions:
        if submission.id not in played.records:
            yield f"{submission.id}: the group was never accepted"
            continue
        exact = known and not (scenario.ties and any(map(scenario.is_disturbed, scenario.beside(submission))))
        if exact or (certain and not scenario.is_disturbed(submission)):
            yield from compared(reference.groups[submission.id], played, times=exact)
        else:
            yield from consistent(scenario, submission, played)
        yield from _in_time(submission, played)
        yield from _retries_in_time(scenario, submission, played)


# What the executor saw.


def _executor(scenario: Scenario, played: Played) -> Iterator[str]:
    executor = played.executor
    if not played.crashes and sorted(executor.released) != sorted(item.id for item in scenario.submissions):
        # After a crash the executor learns from `reconcile` what is over.
        yield f"released were {sorted(executor.released)}, expected every group once"
    for (instance, id), count in [*executor.starts.items(), *played.peer.starts.items()]:
        if count > 1:
            yield f"{id} was started {count} times by {instance}"
    for id in sorted(executor.unacknowledged | played.peer.unacknowledged):
        yield f"the end of {id} was never acknowledged"
    for id in sorted(executor.in_flight | played.peer.in_flight):
        if scenario.script(id).on_stop is not OnStop.SILENT:
            yield f"{id} still runs when all is over"


def _dispatches(reference: Reference, played: Played) -> Iterator[str]:
    actual = {**played.executor.dispatches, **played.peer.dispatches}
    for id in reference.dispatched.keys() - actual.keys():
        yield f"{id} was never dispatched"
    for id in actual.keys() - reference.dispatched.keys():
        yield f"{id} was dispatched and should not have been"
    for id, dispatch in actual.items():
        expected = reference.imports.get(id, {})
        if {task: dict(values) for task, values in dispatch.bindings.imports.items()} != expected:
            yield f"{id} was given {dispatch.bindings.imports}, expected {expected}"


def _heard(scenario: Scenario, played: Played) -> Iterator[str]:
    """What the executor told stands in rows and events."""
    told = Counter(
        (event.group, event.task, event.attempt, event.kind) for item in played.events.values() for event in item
    )
    powered = not any(crash.power_loss for crash in played.faults.crashes)
    for row in (row for record in played.records.values() for row in record.attempts):
        id = AttemptId(row.group, row.task, row.attempt)
        if row.outcome is None:
            yield f"{id}: has no outcome"
            continue
        outcome = codec.decode_outcome(row.outcome)
        yield from _unequal(f"{id}: row", (outcome.status, outcome.finished_at), (row.status, row.finished_at))
        if powered:
            yield from _unequal(f"{id}: started_at", outcome.started_at, row.started_at)
            started = told[(*id, Kind.TASK_STARTED)]
            yield from _unequal(f"{id}: events of its start", int(row.started_at is not None), started)
        if not played.crashes and outcome.status is not Status.ABORTED and outcome.reason != Reason.RUNNER_LOST:
            heard = sum(told[(*id, kind)] for kind in (Kind.MASK_SKIPPED, Kind.TASK_PAUSED, Kind.TASK_RESUMED))
            yield from _unequal(f"{id}: notices", (played.executor.notices + played.peer.notices)[id], heard)
        silent = row.runner == PEER and played.faults.outages
        if (
            not played.crashes
            and not silent
            and outcome.kill == GIVEN_UP
            and scenario.script(id).on_stop is not OnStop.SILENT
        ):
            yield f"{id}: was given up, and would have said that it stopped"
        if not played.crashes and not played.faults.delaying:
            late = outcome.kill == GIVEN_UP and scenario.script(id).stop_after < math.inf
            yield from _unequal(f"{id}: late results", int(late), told[(*id, Kind.LATE_RESULT)])


# Exact comparison.


def compared(model: GroupModel, played: Played, *, times: bool) -> Iterator[str]:
    id = model.submission.id
    result = played.results[id]
    yield from _unequal(f"{id}: status", model.status.value, result.status.value)
    yield from _unequal(f"{id}: reason", model.reason, result.reason)
    yield from _unequal(f"{id}: replaced_by", model.replaced_by, result.replaced_by)
    if times:
        yield from _apart(f"{id}: started_at", played.began + model.started_at, result.started_at)
        yield from _apart(f"{id}: finished_at", played.began + model.finished_at, result.finished_at)
    rows = {row.name: row for row in played.records[id].tasks}
    for name, task in model.tasks.items():
        if name not in rows:
            yield f"{id}/{name}: has no row"
            continue
        yield from _task_compared(f"{id}/{name}", task, result.results[name], _outputs(id, rows[name]))
        if times:
            end = task.end
            if end.status is not Status.SKIPPED:
                yield from _apart(f"{id}/{name}: finished_at", played.began + end.at, result.results[name].finished_at)
            started = None if end.started_at is None else played.began + end.started_at
            yield from _apart(f"{id}/{name}: started_at", started, result.results[name].started_at)


def _task_compared(where: str, task: TaskModel, result: TaskResult, outputs: Mapping[str, Value]) -> Iterator[str]:
    end = task.end
    said = end.outcome or Outcome(status=end.status)
    yield from _unequal(f"{where}: status", end.status.value, result.status.value)
    yield from _unequal(f"{where}: reason", end.reason, result.reason)
    yield from _unequal(f"{where}: because_of", end.because_of, result.because_of)
    yield from _unequal(f"{where}: attempts", end.attempts, result.attempts)
    yield from _unequal(f"{where}: exit_code", said.exit_code, result.exit_code)
    yield from _unequal(f"{where}: signal", said.signal, result.signal)
    yield from _unequal(f"{where}: kill", said.kill, result.kill)
    yield from _unequal(f"{where}: waiting", None, result.waiting)
    if said.error is not None:
        yield from _unequal(f"{where}: error", said.error, result.error)
    yield from _unequal(f"{where}: recorded outputs", dict(end.outputs), dict(outputs))
    shown = {item.name for item in task.task.exports if item.scope is Scope.GLOBAL}
    yield from _unequal(
        f"{where}: outputs", {name: end.outputs[name] for name in end.outputs if name in shown}, dict(result.outputs)
    )


def _unequal(what: str, expected: object, actual: object) -> Iterator[str]:
    if expected != actual:
        yield f"{what} is {actual!r}, expected {expected!r}"


def _apart(what: str, expected: float | None, actual: str | None) -> Iterator[str]:
    wall = None if actual is None else datetime.fromisoformat(actual).timestamp()
    if expected is None or wall is None:
        yield from _unequal(what, expected, wall)
    elif abs(wall - expected) > TOLERANCE_SECONDS:
        yield f"{what} is {wall - expected:+.6f} s off"


def _outputs(group: str, row: TaskRow) -> dict[str, Value]:
    return (
        codec.decode_values(row.outputs, partial(SEALER.unseal, context=output_context(group, row.name)))
        if row.outputs
        else {}
    )


# Bounds that hold however turns and faults fall.


def _in_time(submission: Submission, played: Played) -> Iterator[str]:
    """An abort begins at the latest when the group's timeout is over, and it takes no longer than it may; whoever waits for
    its end is told of it in that time, although the disk be full. Another end may have to wait for the disk."""
    row, group = played.records[submission.id].group, submission.group
    delay = played.faults.delay if played.crashes else 0.0
    latest = math.inf if group.timeout is None else row.accepted.wall + group.timeout + row.rested
    if row.abort_at is not None:
        latest = min(latest, row.abort_at.wall)
    latest += group.cleanup_timeout + GRACE_SECONDS + CONFIRM_SECONDS + delay
    told = played.told.get(submission.id, math.inf)
    if row.finished_at is None or row.finished_at > latest + TOLERANCE_SECONDS:
        yield f"{submission.id}: ended at {row.finished_at}, expected not after {latest}"
    elif not played.crashes:
        latest = row.finished_at + (END_PATIENCE_SECONDS + STORE_RETRY_SECONDS if row.abort is None else 0.0)
        if told > latest + TOLERANCE_SECONDS:
            yield f"{submission.id}: its end was told at {told}, expected not after {latest}"


def _retries_in_time(scenario: Scenario, submission: Submission, played: Played) -> Iterator[str]:
    """A retry waits for its delay, and for nothing else but a slot."""
    due: dict[str | None, float] = {}
    for event in played.events[submission.id]:
        if event.kind is Kind.TASK_RETRYING:
            due[event.task] = event.at + event.fields["seconds"]
        elif event.kind is Kind.TASK_DISPATCHED and event.task in due:
            late = event.at - due.pop(event.task)
            if late < -ROUNDED_SECONDS:
                yield f"{submission.id}/{event.task}: attempt {event.attempt} came {-late:.3f} s before its time"
            may_wait = scenario.slots_matter or submission.pauses
            if late > ROUNDED_SECONDS + played.faults.delay and not may_wait:
                yield f"{submission.id}/{event.task}: attempt {event.attempt} came {late:.3f} s after its time"


# Consistency, task by task.


def consistent(scenario: Scenario, submission: Submission, played: Played) -> Iterator[str]:
    id, group = submission.id, submission.group
    record = played.records[id]
    rows = {row.name: row for row in record.tasks}
    if missing := [task.name for task in group.tasks if task.name not in rows or not rows[task.name].status.terminal]:
        yield f"{id}: not terminal: {', '.join(missing)}"
        return
    tasks = {task.name: task for task in group.tasks}
    inputs = {
        item.name: Value(submission.inputs.get(item.name, item.default or ""), item.confidential)
        for item in group.inputs
    }
    ends = {
        name: End(row.status, row.reason, row.because_of, row.attempt, outputs=_outputs(id, row))
        for name, row in rows.items()
    }
    status, reason = group_status(record.group.abort, [(tasks[name], end) for name, end in ends.items()])
    yield from _unequal(f"{id}: status", status.value, record.group.status.value)
    yield from _unequal(f"{id}: reason", reason, record.group.reason)
    attempts = {(row.task, row.attempt): row for row in record.attempts}
    refusal = _refusal(attempts.get((WHOLE, 1)))
    for name, task in tasks.items():
        end, where = ends[name], f"{id}/{name}"
        if end.reason == "group_aborted":
            if record.group.abort is None or end.status is not Status.SKIPPED or end.attempts:
                yield f"{where}: is {end.status} because the group was aborted, which it was not, or after an attempt"
            continue
        failed = _failed_instances(task, tasks, ends)
        if (end.status, end.reason) == (Status.SKIPPED, "fail_fast"):
            if end.because_of not in failed or end.attempts:
                yield f"{where}: was skipped because of {end.because_of}, failed have {failed}"
            continue
        verdict = decide(task, tasks, ends, inputs)
        # Nothing of the group could begin any more, or what it waits for was skipped before what that waits for was given up.
        given_up = (Status.ERRORED, refusal), (Status.SKIPPED, "no_failure")
        if isinstance(verdict, Runs) and refusal is not None and (end.status, end.reason) in given_up:
            continue
        if isinstance(verdict, Runs):
            last = AttemptId(id, name, end.attempts)
            yield from _attempts_consistent(scenario, played, last, attempts, end, may_stop=bool(failed))
        elif isinstance(verdict, Joins):
            joined = (Status.SUCCESS, None, 0, dict(verdict.outputs))
            yield from _unequal(f"{where}: end", joined, (end.status, end.reason, end.attempts, dict(end.outputs)))
        elif isinstance(verdict, Errored):
            yield from _unequal(f"{where}: end", ("errored", verdict.reason), (end.status.value, end.reason))
        else:
            expected = ("skipped", verdict.reason, verdict.because_of)
            yield from _unequal(f"{where}: end", expected, (end.status.value, end.reason, end.because_of))


def _failed_instances(task: Task, tasks: Mapping[str, Task], ends: Mapping[str, End]) -> list[str]:
    """Those of its matrix, if that ends the others."""
    return [
        name
        for name, other in tasks.items()
        if task.matrix and other.matrix and other.matrix.of == task.matrix.of and has_ended_others(other, ends[name])
    ]


def _refusal(whole: AttemptRow | None) -> str | None:
    """Why nothing of a group can begin any more that was forwarded as a whole; None where something can."""
    outcome = None if whole is None or whole.outcome is None else codec.decode_outcome(whole.outcome)
    if outcome is not None and outcome.kill == {"confirmed": False}:
        return Reason.RUNNER_LOST
    return None if outcome is None or outcome.status is not Status.ERRORED else outcome.reason


def _attempts_consistent(
    scenario: Scenario,
    played: Played,
    last: AttemptId,
    rows: Mapping[tuple[str, int], AttemptRow],
    end: End,
    *,
    may_stop: bool,
) -> Iterator[str]:
    """Every attempt ended as its script, a stop or the loss of power made it; retries are those that were asked for. It `may_stop` for
    another instance of its matrix."""
    record = played.records[last.group]
    submission = next(item for item in scenario.submissions if item.id == last.group)
    task = next(item for item in submission.group.tasks if item.name == last.task)
    aborted = record.group.abort is not None or may_stop
    if last.attempt == 0:
        yield f"{last.group}/{last.task}: should have run, but is {end.status} ({end.reason})"
    for number in range(1, last.attempt + 1):
        id = last._replace(attempt=number)
        row = rows[id.task, number]
        if row.outcome is None:
            yield f"{id}: has no outcome"
            continue
        outcome = codec.decode_outcome(row.outcome)
        said = [_essence(said) for said in _said(scenario, played, row, task.timeout)]
        if outcome.status is not Status.ABORTED or id in played.interrupted:
            if _essence(outcome) not in said:
                yield f"{id}: outcome is {_essence(outcome)}, expected {' or '.join(map(str, said))}"
        elif not aborted and id not in played.forgotten_stops:
            yield f"{id}: was aborted, but nobody asked for it"
        again = retried(task, number, outcome)
        said_again = submission.pauses and pauses.decision(submission, id)[1] == RETRY
        if number < last.attempt and not (again or said_again):
            yield f"{id}: was retried after {_essence(outcome)}"
        if number == last.attempt and again and not aborted:
            yield f"{id}: was not retried after {_essence(outcome)}"
        if number == last.attempt and end.status is not outcome.status and not (aborted and (again or said_again)):
            yield f"{id}: ended {outcome.status}, its task {end.status}"
    if end.status is Status.ABORTED:
        # A failFast that a cancel or the timeout overtook had ended tasks of its own before.
        overtaken = ["fail_fast"] if end.because_of is not None else []
        allowed = {record.group.abort, *overtaken, *([Reason.CLEANUP_TIMEOUT] if task.when is When.ALWAYS else [])}
        if may_stop:
            allowed.add("fail_fast")
        if last in played.forgotten_stops:
            allowed |= played.stop_reasons
        if end.reason not in allowed:
            yield f"{last.group}/{last.task}: aborted for {end.reason}, expected one of {sorted(map(str, allowed))}"


def _said(scenario: Scenario, played: Played, row: AttemptRow, timeout: float | None) -> Iterator[Outcome]:
    """The ends of its own that an attempt may have come to."""
    id = AttemptId(row.group, row.task, row.attempt)
    if id in played.interrupted:
        yield Outcome(status=Status.ERRORED, reason=Reason.HOST_RESTARTED)
        return
    if row.runner == PEER and played.faults.may_lose(scenario.lost_after):
        yield Outcome(status=Status.ERRORED, reason=Reason.RUNNER_LOST)
    if row.runner == PEER:
        yield from played.other_ends
    script = scenario.script(id)
    late = script.starts and timeout is not None and timeout < script.duration
    if late:
        yield TIMED_OUT
    stops_all = played.records[id.group].group.abort is not None and (id.group, WHOLE) in {
        (attempt.group, attempt.task) for attempt in played.records[id.group].attempts
    }  # a group that was forwarded as a whole: the attempts were stopped there
    stopped = row.cancel_at is not None or id in played.forgotten_stops or stops_all
    if not late or (stopped and script.on_stop is OnStop.FINISHES):
        yield script.outcome
    signals = next(item.signals for item in scenario.submissions if item.id == id.group)
    if any(item.task == id.task and item.signal == "destroy" for item in signals):
        yield DESTROYED


def _essence(outcome: Outcome) -> tuple[str, str | None, int | None]:
    return outcome.status.value, outcome.reason, outcome.exit_code
