"""Inputs, imports, and what a task's templates may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from runner.errors import TemplateError, UsageError
from runner.expressions import DataScope, Lookup, Scope, evaluate, has_template, render
from runner.model.group import TaskGroup
from runner.model.parse import wrong_key
from runner.model.result import Skip, Status
from runner.model.task import Export, Task
from runner.model.value import Bindings, Value

DEFAULT_AFTER_SKIP = frozenset({Skip.CONDITION_FALSE.value, Skip.NO_FAILURE.value})


def secrets(group: TaskGroup) -> dict[str, Value]:
    """The confidential defaults of exports by `task.export`, and of inputs by `.input`, to be stored encrypted beside the inputs
    (whose names have no dot)."""
    exports = {
        f"{task.name}.{export.name}": Value(export.default, True)
        for task in group.tasks
        for export in task.exports
        if export.confidential and export.default is not None
    }
    inputs = {
        f".{item.name}": Value(item.default, True)
        for item in group.inputs
        if item.confidential and item.default is not None
    }
    return exports | inputs


def without_secrets(group: TaskGroup) -> TaskGroup:
    """The group as it may be stored in the clear: without confidential defaults. The same where it has none."""
    if any(item.confidential and item.default is not None for item in group.inputs):
        inputs = tuple(replace(item, default=None) if item.confidential else item for item in group.inputs)
        group = replace(group, inputs=inputs)
    return _with_defaults(group, lambda task, export: None)


def with_secrets(group: TaskGroup, stored: Mapping[str, Value]) -> tuple[TaskGroup, dict[str, Value]]:
    """A group that was stored `without_secrets`, and its inputs, from these and the `secrets` that were stored with them."""
    inputs = {name: value for name, value in stored.items() if "." not in name}
    if len(inputs) < len(stored):
        hidden = {name: value.text for name, value in stored.items() if "." in name}
        declared = tuple(
            replace(item, default=hidden.get(f".{item.name}")) if item.confidential else item for item in group.inputs
        )
        restored = replace(group, inputs=declared)
        group = _with_defaults(restored, lambda task, export: hidden.get(f"{task.name}.{export.name}"))
    return group, inputs


def _with_defaults(group: TaskGroup, default: Callable[[Task, Export], str | None]) -> TaskGroup:
    """`group` with `default` for each confidential export."""
    if not any(export.confidential for task in group.tasks for export in task.exports):
        return group
    return replace(
        group,
        tasks=tuple(
            replace(
                task,
                exports=tuple(
                    replace(export, default=default(task, export)) if export.confidential else export
                    for export in task.exports
                ),
            )
            for task in group.tasks
        ),
    )


class Source:
    """What an importing task sees of the task it imports from."""

    __slots__ = ("outputs", "reason", "status", "task")

    def __init__(self, task: Task, status: Status, reason: str | None, outputs: Mapping[str, Value]) -> None:
        self.task = task
        self.status = status
        self.reason = reason
        self.outputs = outputs

    def value(self, variable: str) -> Value | None:
        """The value of an export, its default where the rules grant one, or None."""
        value = self.outputs.get(variable)
        if value is not None:
            return value
        skipped_by_condition = self.status is Status.SKIPPED and self.reason in DEFAULT_AFTER_SKIP
        failure_allowed = self.status in (Status.FAILED, Status.ERRORED) and self.task.allow_failure
        if not skipped_by_condition and not failure_allowed:
            return None
        export = next((item for item in self.task.exports if item.name == variable), None)
        if export is None or export.default is None:
            return None
        return Value(export.default, export.confidential)


def imported(task: Task, source: Callable[[str], Source]) -> dict[str, dict[str, Value]] | str:
    """The task's imports, or the name of the first task that has no value for it."""
    found: dict[str, dict[str, Value]] = {}
    for item in task.imports:
        value = source(item.task).value(item.variable)
        if value is None:
            return item.task
        found.setdefault(item.task, {})[item.variable] = value
    return found


def runner_named(to: str, bindings: Bindings) -> str:
    """The name of the runner that a task's `forward.to` gives. Raises TemplateError."""
    if not has_template(to):
        return to
    rendered = render(to, Scope(bindings))
    if rendered.confidential:
        raise TemplateError("it names a confidential value; where a task runs would tell something about it")
    if not rendered.text.strip():
        raise TemplateError("it must give the name of a runner, and gives nothing")
    return rendered.text.strip()


def concurrency_key(group: TaskGroup, inputs: Mapping[str, Value]) -> str:
    """The key of its `concurrency`; empty where it has none. Raises UsageError."""
    if group.concurrency is None:
        return ""
    key = group.concurrency.key
    scope = DataScope({"inputs": inputs, "labels": dict(group.labels)})
    try:
        rendered = render(key, scope) if has_template(key) else Value(key)
    except TemplateError as error:
        raise UsageError(f"concurrency.key: {error.message}; a label is given with --label NAME=…") from error
    if rendered.confidential:
        raise UsageError("concurrency.key: it names a confidential value, and is seen by everyone who sees the group")
    text = rendered.text.strip()
    if (wrong := wrong_key(text)) is not None:
        raise UsageError(f"concurrency.key: {wrong}; look at the inputs and labels that it names")
    return text


def condition_holds(condition: str | bool | None, bindings: Bindings) -> bool:
    """Whether a task's `if` lets it run. Raises TemplateError."""
    if condition is None or isinstance(condition, bool):
        return condition is not False
    return condition_true(condition, Scope(bindings))


def condition_true(condition: str, scope: Lookup) -> bool:
    """The same of one that is written as a text, by the names of `scope`."""
    if has_template(condition):
        result, confidential = evaluate(condition, scope)
        if confidential:
            raise TemplateError(
                "`if` names a confidential value; whether a task ran would tell something about it: use another one"
            )
    else:
        result = condition
    if isinstance(result, bool):
        return result
    text = str(result).strip().lower()
    if text in ("true", "false", ""):
        return text == "true"
    raise TemplateError(f"`if` must give true or false, not {str(result)[:80]!r}; compare it: … == 'value'")
