"""What the specification says of one task, and of a group whose tasks are over: for the reference model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from runner.model.result import UNCERTAIN_REASONS, Outcome, Status
from runner.model.task import Forward, Task, When
from runner.model.value import Value
from runner.simulator.scenario import PEER, PEER_LABELS

CONDITION = re.compile(r"\{\{ \.([\w-]+)\.([\w-]+) (==|!=) '([^']*)' \}\}")
BROKEN_CONDITION = "{{ .inputs.nobody_declared_this == 'x' }}"

Imports = dict[str, dict[str, Value]]


class End(Struct):
    """What a task has come to. `status` pending or running: not yet."""

    status: Status = Status.PENDING
    reason: str | None = None
    because_of: str | None = None
    attempts: int = 0
    outcome: Outcome | None = None
    """What its last attempt said of itself."""
    outputs: Mapping[str, Value] = {}
    at: float = 0.0
    started_at: float | None = None
    """When its first attempt started."""


class Skipped(Struct, frozen=True):
    reason: str
    because_of: str | None = None


class Errored(Struct, frozen=True):
    """It ends before it begins: its `if` or `forward` has no answer, or names nobody. The latter is `asked_last`, when nothing else holds
    it back."""

    reason: str
    asked_last: bool = False


class Runs(Struct, frozen=True):
    imports: Imports


class Joins(Struct, frozen=True):
    """Nothing is run for it: it succeeds with these outputs."""

    outputs: Mapping[str, Value]


TO_PEER = Forward(to=PEER)
BY_INPUT = Forward(to="{{ '" + PEER + "' if inputs.mode == 'a' else 'nobody' }}")
"""Whom it names depends on the input `mode`."""
NOWHERE = Forward(to="{{ .inputs.nobody_declared_this }}")
BY_LABELS = Forward(labels={"site": PEER_LABELS["site"]})
BY_NO_LABELS = Forward(labels={"site": "nowhere"})
ANYWHERE = Forward(labels={"os": PEER_LABELS["os"]})
"""Here too, where the other runner is not there."""


def decide(
    task: Task, tasks: Mapping[str, Task], ends: Mapping[str, End], inputs: Mapping[str, Value]
) -> Skipped | Errored | Runs | Joins:
    """What the edges, the data and the `if` of a task say, once all its edges are terminal. `tasks` in declaration order."""
    edges = [name for name in tasks if name in task.edges]
    if task.joins:
        return _joined(task, edges, tasks, ends)
    if task.when is When.SUCCESS:
        for name in edges:
            end, allowed = ends[name], tasks[name].allow_failure
            if end.status is Status.ABORTED or (end.status in (Status.FAILED, Status.ERRORED) and not allowed):
                return Skipped("dependency_failed", name)
            if end.status is Status.SKIPPED and end.reason not in ("condition_false", "no_failure"):
                return Skipped("dependency_skipped", name)
    if task.when is When.FAILURE:
        ancestors = ancestors_of(task, tasks)
        if not any(ends[name].status in (Status.FAILED, Status.ERRORED) for name in ancestors):
            return Skipped("no_failure")
    imports: Imports = {}
    for item in task.imports:
        value = _value(tasks[item.task], ends[item.task], item.variable)
        if value is None:
            return Skipped("no_data", item.task)
        imports.setdefault(item.task, {})[item.variable] = value
    cells = {name: Value(text) for name, text in task.matrix.values.items()} if task.matrix else {}
    holds = _condition(task.condition, {**imports, "inputs": dict(inputs), "matrix": cells})
    if holds is None:
        return Errored("bad_template")
    if not holds:
        return Skipped("condition_false")
    refused = _refused(task.forward, inputs)
    return Runs(imports) if refused is None else Errored(refused, asked_last=True)


def _joined(
    task: Task, instances: Sequence[str], tasks: Mapping[str, Task], ends: Mapping[str, End]
) -> Skipped | Joins:
    """What becomes of the instances of a matrix together."""
    failed = [name for name in instances if ends[name].status in (Status.FAILED, Status.ERRORED)]
    skipped = [name for name in instances if ends[name].status is Status.SKIPPED]
    if failed and not task.allow_failure:
        return Skipped("dependency_failed", failed[0])
    for name in instances:
        if ends[name].status is Status.ABORTED:
            return Skipped("dependency_failed", name)
        if name in skipped and ends[name].reason not in ("condition_false", "no_failure"):
            return Skipped("dependency_skipped", name)
    if len(skipped) == len(instances):
        return Skipped(ends[skipped[0]].reason or "", skipped[0])
    outputs = {}
    for export in task.exports:
        values = [_value(tasks[name], ends[name], export.name) for name in instances]
        text = json.dumps([None if value is None else value.text for value in values], separators=(",", ":"))
        secret = export.confidential or any(value.confidential for value in values if value is not None)
        outputs[export.name] = Value(text, secret)
    return Joins(outputs)


def has_ended_others(task: Task, end: End) -> bool:
    """Whether it is an instance whose failure ends the others of its matrix."""
    fails = task.matrix is not None and task.matrix.fail_fast and not task.allow_failure
    return fails and end.status in (Status.FAILED, Status.ERRORED)


def _refused(forward: Forward | None, inputs: Mapping[str, Value]) -> str | None:
    """Why nobody takes a task that is forwarded in one of the ways that scenarios use."""
    if forward == NOWHERE:
        return "bad_template"
    unknown = forward == BY_NO_LABELS or (forward == BY_INPUT and inputs["mode"].text != "a")
    return "no_such_runner" if unknown else None


def ancestors_of(task: Task, tasks: Mapping[str, Task]) -> set[str]:
    found: set[str] = set()
    left = list(task.edges)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += tasks[name].edges
    return found


def _value(source: Task, end: End, variable: str) -> Value | None:
    if variable in end.outputs:
        return end.outputs[variable]
    skipped = end.status is Status.SKIPPED and end.reason in ("condition_false", "no_failure")
    forgiven = end.status in (Status.FAILED, Status.ERRORED) and source.allow_failure
    for export in source.exports:
        if export.name == variable and export.default is not None and (skipped or forgiven):
            return Value(export.default, export.confidential)
    return None


def _condition(condition: str | bool | None, names: Imports) -> bool | None:
    """What an `if` of the forms that scenarios use says; None when it has no answer."""
    if condition is None or isinstance(condition, bool):
        return condition is not False
    if condition == BROKEN_CONDITION:
        return None
    match = CONDITION.fullmatch(condition)
    if match is None:
        raise ValueError(f"the reference model does not know conditions such as {condition!r}")
    source, name, operator, text = match.groups()
    return (names[source][name].text == text) == (operator == "==")


def retried(task: Task, attempt: int, outcome: Outcome) -> bool:
    on = task.retry.on
    if attempt >= task.retry.attempts or outcome.status not in (Status.FAILED, Status.ERRORED):
        return False
    if outcome.reason in UNCERTAIN_REASONS:
        return outcome.reason in on
    return outcome.status in on or outcome.reason in on or str(outcome.exit_code) in on


def group_status(abort: str | None, ends: Sequence[tuple[Task, End]]) -> tuple[Status, str | None]:
    """The status and reason of a group whose tasks are all terminal."""
    if abort in ("cancelled", "group_timeout", "replaced"):
        return Status.ABORTED, abort
    # What an instance of a matrix took with it does not count beside it.
    counted = {
        end.status
        for task, end in ends
        if not task.allow_failure and not (task.matrix and end.status is Status.ABORTED and end.reason == "fail_fast")
    }
    if abort is None and Status.ABORTED in counted:
        return Status.ABORTED, None
    for status in (Status.ERRORED, Status.FAILED):
        if status in counted:
            return status, abort
    return Status.SUCCESS, abort
