"""What becomes of a task when all that it waits for is over: it goes on to where it runs, or ends here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.engine import outputs, rules, variables
from runner.errors import TemplateError
from runner.model.result import Outcome, Reason, Skip, Status
from runner.model.task import When
from runner.model.value import Value

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun
    from runner.engine.state import TaskState


def decide(run: GroupRun, state: TaskState) -> None:
    """What follows for others is for `settle`."""
    if run.is_closed_for(state):
        run.end_early(state)
        return
    parents = [run.tasks[index] for index in run.graph.parents[state.index]]
    if state.task.joins:
        _join(run, state, parents)
        return
    if state.task.when is When.SUCCESS:
        for parent in parents:
            skip = rules.unsatisfied(parent)
            if skip is not None:
                run.skip(state, skip, parent.task.name)
                return
    elif state.task.when is When.FAILURE and not any(parent.troubled for parent in parents):
        run.skip(state, Skip.NO_FAILURE)
        return
    imports = variables.imported(state.task, run.source)
    if isinstance(imports, str):
        run.skip(state, Skip.NO_DATA, imports)
        return
    try:
        holds = variables.condition_holds(state.task.condition, run.bindings_with(state, imports, 1))
    except TemplateError as error:
        run.refuse(state, Reason.BAD_TEMPLATE, f"if: {error.message}")
        return
    if not holds:
        run.skip(state, Skip.CONDITION_FALSE)
    elif run.matrices.admits(state):
        run.forwarding.proceed(state)


def _join(run: GroupRun, state: TaskState, instances: Sequence[TaskState]) -> None:
    """It is what its instances are: successful if they are, and skipped if one did not succeed, that which failed by itself first; or if
    all were skipped."""
    unsatisfied = [
        instance
        for instance in instances
        if instance.status is not Status.SUCCESS and rules.unsatisfied(instance) is not None
    ]
    culprit = next((instance for instance in unsatisfied if instance.trouble), next(iter(unsatisfied), None))
    if culprit is not None:
        run.skip(state, rules.unsatisfied(culprit) or Skip.DEPENDENCY_FAILED, culprit.task.name)
    elif instances and all(instance.status is Status.SKIPPED for instance in instances):
        run.skip(state, Skip(instances[0].reason or Skip.CONDITION_FALSE), instances[0].task.name)
    else:
        now = run.services.clock.now().wall
        outcome = Outcome(status=Status.SUCCESS, outputs=_lists(run, state, instances), finished_at=now)
        run.conclude(state, outputs.admitted(run, outcome))


def _lists(run: GroupRun, state: TaskState, instances: Sequence[TaskState]) -> Mapping[str, Value]:
    """Of each export the values of the instances, as a JSON list; of one that has none, null."""
    lists = {}
    for export in state.task.exports:
        values = [
            instance.outputs.get(export.name) or run.source(instance.task.name).value(export.name)
            for instance in instances
        ]
        text = json.dumps([value and value.text for value in values], ensure_ascii=False, separators=(",", ":"))
        secret = export.confidential or any(value is not None and value.confidential for value in values)
        lists[export.name] = Value(text, secret)
    return lists
