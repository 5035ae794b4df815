"""What would become of each task of a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from drivers.registry import Registry
from runner import expressions
from runner.dispatch.render import SpecError, rendered_spec
from runner.dispatch.secrets import Secrets
from runner.engine import variables
from runner.errors import TemplateError
from runner.model.group import TaskGroup
from runner.model.inputs import bind_inputs
from runner.model.matrix import ROOT
from runner.model.result import Reason, Skip
from runner.model.task import Task, When
from runner.model.value import MASK, Value
from runner.preview.texts import OPEN, Open, OpenError, OpenScope, Texts

FIRST_ATTEMPT = 1


class Prospect(StrEnum):
    """What would become of a task. `OPEN`: whether it runs is known at run time alone."""

    RUNS = "runs"
    OPEN = "open"
    SKIPPED = "skipped"
    ERRORED = "errored"


class TaskPreview(Struct, frozen=True, kw_only=True):
    """`reason` is why it does not, or may not, run, as results call it, or `if` where a condition is open; `because_of` the task that it is for, and
    `error` is for a person. `open` names what its condition and its templates want that is known at run time alone. `spec` and `to` (where it
    is forwarded) are rendered; both are None of a task that would be skipped, or that has a template which cannot be rendered."""

    task: Task
    prospect: Prospect
    reason: str | None = None
    because_of: str | None = None
    error: str | None = None
    open: tuple[str, ...] = ()
    spec: Mapping[str, Any] | None = None
    to: str | None = None


class Preview(Struct, frozen=True, kw_only=True):
    """`tasks` are in the order of the group's; confidential `inputs` are `***`."""

    inputs: Mapping[str, Value]
    env: Mapping[str, str]
    tasks: tuple[TaskPreview, ...]


class _End(StrEnum):
    SUCCESS = "success"
    PASSED = "passed"
    """Skipped in a way that satisfies those that wait for it."""
    LEFT = "left"
    """Skipped in a way that does not."""
    TROUBLE = "trouble"


class _Known(Struct):
    """How a task may end; whether it, or a task before it, is or may be in trouble."""

    ends: frozenset[_End]
    troubled: bool
    may_be_troubled: bool


class _Reason(Struct, frozen=True):
    skip: str
    because_of: str | None = None


def preview(group: TaskGroup, given: Mapping[str, str], registry: Registry, milliseconds: int) -> Preview:
    """`given` are inputs; `milliseconds` is what the templates of one task may cost. Raises UsageError for inputs that are undeclared or missing."""
    return _Player(group, bind_inputs(group, given), registry, milliseconds).play()


class _Player:
    def __init__(self, group: TaskGroup, inputs: Mapping[str, Value], registry: Registry, milliseconds: int) -> None:
        self._group = group
        self._inputs = inputs
        self._registry = registry
        self._milliseconds = milliseconds
        self._secrets = Secrets(lambda name: None)
        for name, value in (*inputs.items(), *variables.secrets(group).items()):
            if value.confidential:
                self._secrets.add(name, value.text)
        self._index = {task.name: number for number, task in enumerate(group.tasks)}
        self._known: dict[str, _Known] = {}
        self._told: dict[str, TaskPreview] = {}
        names: dict[str, object] = {"id": group.id or OPEN, "name": group.name}
        self._tables: dict[str, object] = {"inputs": inputs, "group": names}
        self._env: dict[str, object] = {}
        self._env_shown: dict[str, str] = {}
        self._env_error: str | None = None
        self._render_env()

    def play(self) -> Preview:
        order = TopologicalSorter({task.name: task.edges for task in self._group.tasks}).static_order()
        told = self._told
        for name in order:
            told[name] = self._hidden(self._told_of(self._group.tasks[self._index[name]]))
        return Preview(
            inputs={name: Value(self._shown(value), value.confidential) for name, value in self._inputs.items()},
            env={name: self._secrets.mask(text) for name, text in self._env_shown.items()},
            tasks=tuple(told[task.name] for task in self._group.tasks),
        )

    # One task, in the order in which the engine decides: edges, data, `if`, and what is carried out.

    def _told_of(self, task: Task) -> TaskPreview:
        parents = sorted(task.edges, key=self._index.__getitem__)
        known = [self._known[name] for name in parents]
        mine = _Known(frozenset(), any(each.troubled for each in known), any(each.may_be_troubled for each in known))
        self._known[task.name] = mine
        doubt: _Reason | None = None
        for reason, certain, end in (*self._by_edges(task, parents, mine), *self._by_data(task)):
            mine.ends |= {end}
            if certain:
                return TaskPreview(
                    task=task, prospect=Prospect.SKIPPED, reason=reason.skip, because_of=reason.because_of
                )
            doubt = doubt or reason
        told = self._joined(task, parents, mine) if task.joins else self._by_condition(task, mine)
        if doubt is None or told.prospect is Prospect.SKIPPED:
            return told
        return replace(told, prospect=Prospect.OPEN, reason=doubt.skip, because_of=doubt.because_of)

    def _by_edges(self, task: Task, parents: Sequence[str], mine: _Known) -> Iterator[tuple[_Reason, bool, _End]]:
        """Why it is skipped, and whether that is certain."""
        if task.when is When.FAILURE and not mine.troubled:
            yield _Reason(Skip.NO_FAILURE), not mine.may_be_troubled, _End.PASSED
        for name in parents if task.when is When.SUCCESS or task.joins else ():
            ends = self._known[name].ends
            blocking = ends & {_End.LEFT} if self._allows(name) else ends & {_End.LEFT, _End.TROUBLE}
            if blocking:
                skip = Skip.DEPENDENCY_FAILED if _End.TROUBLE in blocking else Skip.DEPENDENCY_SKIPPED
                yield _Reason(skip, name), blocking == ends, _End.LEFT

    def _joined(self, task: Task, instances: Sequence[str], mine: _Known) -> TaskPreview:
        """Of one that joins these, none of which keeps it from that for certain."""
        ends = [self._known[name].ends for name in instances]
        first = instances[0]
        if all(each == {_End.PASSED} for each in ends):
            mine.ends |= {_End.PASSED}
            reason = self._told[first].reason
            return TaskPreview(task=task, prospect=Prospect.SKIPPED, reason=reason, because_of=first)
        mine.ends |= {_End.SUCCESS}
        if not all(_End.PASSED in each for each in ends):
            return TaskPreview(task=task, prospect=Prospect.RUNS, spec={})
        mine.ends |= {_End.PASSED}
        return TaskPreview(task=task, prospect=Prospect.OPEN, reason=Skip.CONDITION_FALSE, because_of=first, spec={})

    def _by_data(self, task: Task) -> Iterator[tuple[_Reason, bool, _End]]:
        for item in task.imports:
            values = self._values(item.task, item.variable)
            if None in values:
                yield _Reason(Skip.NO_DATA, item.task), values == [None], _End.LEFT

    def _values(self, name: str, variable: str) -> list[Value | Open | None]:
        """What an import may give; None for no value."""
        task = self._group.tasks[self._index[name]]
        export = next((each for each in task.exports if each.name == variable), None)
        default = None if export is None or export.default is None else Value(export.default, export.confidential)
        found: dict[_End, Value | Open | None] = {
            _End.SUCCESS: OPEN,
            _End.PASSED: default,
            _End.LEFT: None,
            _End.TROUBLE: default if task.allow_failure else None,
        }
        ends = self._known[name].ends
        return list(dict.fromkeys(found[end] for end in _End if end in ends))

    def _allows(self, name: str) -> bool:
        return self._group.tasks[self._index[name]].allow_failure

    def _by_condition(self, task: Task, mine: _Known) -> TaskPreview:
        texts = Texts(self._scope(task))
        try:
            if not self._holds(task):
                mine.ends |= {_End.PASSED}
                return TaskPreview(task=task, prospect=Prospect.SKIPPED, reason=Skip.CONDITION_FALSE)
            is_open = False
        except OpenError:
            texts.note(str(task.condition))
            is_open = True
            mine.ends |= {_End.PASSED}
        except TemplateError as error:
            return self._errored(task, mine, Reason.BAD_TEMPLATE, f"if: {error.message}")
        told = self._carried_out(task, texts, mine)
        return replace(told, prospect=Prospect.OPEN, reason="if") if is_open else told

    def _holds(self, task: Task) -> bool:
        condition = task.condition
        if condition is None or isinstance(condition, bool):
            return condition is not False
        return variables.condition_true(condition, self._scope(task))

    def _carried_out(self, task: Task, texts: Texts, mine: _Known) -> TaskPreview:
        to = None
        try:
            if task.forward is not None:
                to = texts.rendered(task.forward.to, ("forward", "to"))
            spec = texts.rendered(task.spec, ("spec",)) if task.template else task.spec
        except TemplateError as error:
            return self._errored(task, mine, Reason.BAD_TEMPLATE, error.message)
        if task.forward is not None or self._group.forward is not None:
            told = self._errored(task, mine, Reason.NO_SUCH_RUNNER, "this runner has no peers to forward to")
            return replace(told, spec=spec, to=to)
        if self._env_error is not None:
            return self._errored(task, mine, Reason.BAD_TEMPLATE, self._env_error)
        driver = self._registry.get(task.type)
        try:
            if not texts.open and driver is not None:
                # Once more, as it is done when it runs: what it costs, and what its driver says.
                rendered_spec(task, driver, self._scope(task), self._secrets)
        except TemplateError as error:
            return self._errored(task, mine, Reason.BAD_TEMPLATE, error.message)
        except SpecError as error:
            return self._errored(task, mine, Reason.BAD_SPEC, str(error))
        mine.ends |= {_End.SUCCESS}
        return TaskPreview(task=task, prospect=Prospect.RUNS, open=texts.open, spec=spec, to=to)

    def _errored(self, task: Task, mine: _Known, reason: Reason, error: str) -> TaskPreview:
        mine.ends |= {_End.TROUBLE}
        mine.troubled = mine.troubled or mine.ends == {_End.TROUBLE}
        mine.may_be_troubled = True
        return TaskPreview(task=task, prospect=Prospect.ERRORED, reason=reason.value, error=error)

    # Names and texts.

    def _scope(self, task: Task) -> OpenScope:
        imports: dict[str, dict[str, object]] = {}
        for item in task.imports:
            values = [value for value in self._values(item.task, item.variable) if value is not None]
            imports.setdefault(item.task, {})[item.variable] = values[0] if len(values) == 1 else OPEN
        names = {"name": task.name, "attempt": FIRST_ATTEMPT}
        tables = {**imports, **self._tables, "task": names, "env": self._env}
        if task.matrix is not None:
            tables[ROOT] = task.matrix.values
        return OpenScope(tables, work=expressions.Work(self._milliseconds))

    def _render_env(self) -> None:
        for name, text in self._group.env.items():
            texts = Texts(OpenScope(self._tables))
            try:
                self._env[name] = texts.value(text, ("env", name))
                self._env_shown[name] = texts.rendered(text, ("env", name))
            except TemplateError as error:
                self._env[name] = OPEN
                self._env_shown[name] = text
                self._env_error = self._env_error or error.message

    def _shown(self, value: Value) -> str:
        return MASK if value.confidential else self._secrets.mask(value.text)

    def _hidden(self, told: TaskPreview) -> TaskPreview:
        """Without what is confidential and stands there otherwise than by a template."""
        mask = self._secrets.mask
        condition = told.task.condition
        if isinstance(condition, str) and mask(condition) != condition:
            told = replace(told, task=replace(told.task, condition=mask(condition)))
        return replace(
            told,
            error=None if told.error is None else mask(told.error),
            to=None if told.to is None else mask(told.to),
            spec=None if told.spec is None else self._masked(told.spec),
        )

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._secrets.mask(value)
        if isinstance(value, Mapping):
            return {key: self._masked(item) for key, item in value.items()}
        return [self._masked(item) for item in value] if isinstance(value, list | tuple) else value
