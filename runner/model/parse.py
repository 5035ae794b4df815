"""Plain data → TaskGroup, with every fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from runner.model import environment, fields, references, taskparse
from runner.model.environment import Variable
from runner.model.fault import Faults, Path, quote
from runner.model.fields import Readers
from runner.model.group import Concurrency, Input, TaskGroup
from runner.model.limits import Limits
from runner.model.matrix import Matrix, combinations
from runner.model.scalars import as_text
from runner.model.task import Task
from runner.model.taskparse import Checks as Checks

VERSION = "1"
TASK_KEYS = ("taskGroup", "tasks")
NOT_BUILT = frozenset({"cache", "environments", "services"})
"""Keys of a group."""

MOST_KEY_BYTES = 256
"""Of a concurrency key."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Cells(NamedTuple):
    """The values of each instance of a matrix."""

    matrix: Matrix
    values: list[dict[str, str]]


class Parsed(Struct, frozen=True, kw_only=True):
    """The group, fit for use only where no fault was added, and the places in the document of what it is made of. A task with a matrix
    stands in it as the document has it, once; `matrices` has its instances, by its index."""

    group: TaskGroup
    matrices: Mapping[int, Cells] = {}
    tasks: Path
    """Of the list of tasks; its items are in the order of `group.tasks`."""
    env: tuple[Variable, ...]
    key: Path = ("concurrency",)
    """Of the group's concurrency key."""


def tasks_key(data: Any) -> str:
    """How the document calls its list of tasks."""
    return next((key for key in TASK_KEYS if isinstance(data, dict) and key in data), TASK_KEYS[0])


def parse(data: Any, faults: Faults, checks: Checks, *, complete: bool = True, limits: Limits | None = None) -> Parsed:
    """Read what `document.read` gave. With `complete` False nothing is said about what is missing."""
    limits = limits or Limits()
    given = fields.record(faults, (), _top(faults, data), GROUP, NOT_BUILT)
    place: Path = (next((key for key in TASK_KEYS if isinstance(data, dict) and key in data), TASK_KEYS[0]),)
    raw_tasks = given.pop("tasks", None)
    forwarded = given.get("forward") is not None
    if complete and isinstance(data, dict) and place[0] not in data:
        fields.require(faults, (), {}, tasks=TASK_KEYS[0])
    if complete and raw_tasks == []:
        faults.add(place, "expected at least one task")
    tasks, matrices = _tasks(faults, place, raw_tasks or (), checks, limits, forwarded=forwarded)
    if complete:
        references.check(faults, place, tasks, raw_tasks or ())
    env = given.pop("env", ())
    given.pop("version", None)
    group = TaskGroup(tasks=tuple(tasks), env={variable.name: variable.text for variable in env}, **given)
    key = (
        ("concurrency", "key")
        if isinstance(data, dict) and isinstance(data.get("concurrency"), dict)
        else ("concurrency",)
    )
    return Parsed(group=group, matrices=matrices, tasks=place, env=tuple(env), key=key)


def _top(faults: Faults, data: Any) -> dict[str, Any]:
    if data is None:
        faults.add((), "the document is empty", hint="a task group begins with `taskGroup:`")
        return {}
    return fields.mapping(faults, (), data, "{taskGroup: [{name: …, type: …}]}")


def _tasks(
    faults: Faults, path: Path, value: Any, checks: Checks, limits: Limits, *, forwarded: bool
) -> tuple[list[Task], dict[int, Cells]]:
    if len(value) > limits.tasks:
        faults.add(path, f"the group has {len(value):,} tasks, and {limits.tasks:,} is the limit")
        return [], {}
    tasks, matrices = [], {}
    left = limits.tasks - len(value)
    for index, item in enumerate(value):
        place = (*path, index)
        task, matrix = taskparse.read_task(faults, place, item, checks, forwarded=forwarded)
        tasks.append(task)
        if matrix is not None:
            values = combinations(faults, (*place, "matrix"), matrix, left, limits.tasks)
            matrices[index] = Cells(matrix, values)
            left -= len(values)
    return tasks, matrices


def _task_list(faults: Faults, path: Path, value: Any) -> list[Any] | None:
    if isinstance(value, list):
        return value
    fields.expected(faults, path, "a list of tasks", value)
    return None


def _version(faults: Faults, path: Path, value: Any) -> None:
    given = as_text(value)
    if given is None:
        fields.expected(faults, path, VERSION, value)
    elif given != VERSION:
        faults.add(path, f"version {quote(given)} is not known; this runner reads version {VERSION}")


def _id(faults: Faults, path: Path, value: Any) -> str:
    given = fields.word(faults, path, value)
    if as_text(value) is not None and not ID.fullmatch(given):
        expected = "at most 128 letters, digits, _ or -, beginning with a letter or digit"
        faults.add(path, f"{quote(given)} is not an id: expected {expected}")
    return given


def _inputs(faults: Faults, path: Path, value: Any) -> tuple[Input, ...]:
    inputs = []
    for key, item in fields.mapping(faults, path, value, "{tag: {default: latest}}").items():
        place = (*path, key)
        if not fields.NAME.fullmatch(key):
            faults.add(place, f"{quote(key)} is not a name: {fields.NAME_EXPECTED}", about_key=True)
        elif key in fields.RESERVED_NAMES:
            faults.add(place, f"the name {quote(key)} is reserved", about_key=True)
        inputs.append(_input(faults, place, key, item))
    return tuple(inputs)


def _input(faults: Faults, path: Path, name: str, value: Any) -> Input:
    if value is None:
        return Input(name=name)
    if not isinstance(value, dict):
        if isinstance(value, list):
            fields.expected(faults, path, "a default or a mapping such as {default: latest}", value)
            return Input(name=name)
        return Input(name=name, default=fields.text(faults, path, value))
    declared = Input(name=name, **fields.record(faults, path, value, INPUT))
    if declared.required and declared.default is not None:
        faults.add((*path, "default"), "an input that is required has no use for a default")
    return declared


def _concurrency(faults: Faults, path: Path, value: Any) -> Concurrency | None:
    """A mapping, or the key alone."""
    if not isinstance(value, dict):
        if as_text(value) is None:
            fields.expected(faults, path, "a key, or a mapping such as {key: deploy, cancel_previous: true}", value)
            return None
        return Concurrency(key=_key(faults, path, value))
    given = fields.record(faults, path, value, CONCURRENCY)
    return Concurrency(**given) if fields.require(faults, path, given, key="key") else None


def _key(faults: Faults, path: Path, value: Any) -> str:
    """What is a template is looked at again when it is known what it gives."""
    key = fields.text(faults, path, value)
    if as_text(value) is not None and "{{" not in key and (wrong := wrong_key(key)):
        faults.add(path, wrong)
    return key


def wrong_key(key: str) -> str | None:
    """What is wrong with the key of a `concurrency`, its templates rendered."""
    if not key.strip():
        return "a concurrency key must not be empty"
    if (size := len(key.encode(errors="replace"))) > MOST_KEY_BYTES:
        return f"a concurrency key has at most {MOST_KEY_BYTES} bytes, and this one has {size:,}"
    return None if key.isprintable() else "a concurrency key is one line of printable characters"


GROUP: Readers = {
    "version": ("version", _version),
    "name": ("name", fields.one_line),
    "description": ("description", fields.text),
    "id": ("id", _id),
    "labels": ("labels", fields.labels),
    "inputs": ("inputs", _inputs),
    "timeout": ("timeout", fields.timeout),
    "failFast": ("fail_fast", fields.flag),
    "cleanup_timeout": ("cleanup_timeout", fields.seconds),
    "env": ("env", environment.read),
    "forward": ("forward", taskparse.read_forward),
    "concurrency": ("concurrency", _concurrency),
    "taskGroup": ("tasks", _task_list),
    "tasks": ("tasks", _task_list),
}
CONCURRENCY: Readers = {
    "key": ("key", _key),
    "cancel_previous": ("cancel_previous", fields.flag),
}
INPUT: Readers = {
    "default": ("default", fields.text),
    "required": ("required", fields.flag),
    "confidential": ("confidential", fields.flag),
    "description": ("description", fields.text),
}
