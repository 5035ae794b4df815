"""A part of a group: some of its tasks with what they need, or what follows from some. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from runner.errors import UsageError
from runner.model.fault import no_such_task
from runner.model.group import TaskGroup
from runner.model.task import Task


def with_needs(group: TaskGroup, names: Collection[str]) -> TaskGroup:
    """These tasks and all that they depend on, however far. Raises UsageError for a name that the group does not have."""
    tasks = _known(group, names)
    wanted = _reached(names, lambda name: tasks[name].edges)
    return replace(group, tasks=tuple(task for task in group.tasks if task.name in wanted))


def from_on(group: TaskGroup, names: Collection[str]) -> TaskGroup:
    """These tasks and all that depends on them, however far, as if all others had been successful; of a task with a matrix all instances.
    Raises UsageError for a name that the group does not have, and where a value is wanted that one of the others would give."""
    tasks = _known(group, names)
    names = [*names, *(edge for name in names if tasks[name].joins for edge in tasks[name].edges)]
    followers: dict[str, list[str]] = {name: [] for name in tasks}
    for task in group.tasks:
        for edge in task.edges:
            followers[edge].append(task.name)
    wanted = _reached(names, followers.__getitem__)
    for task in group.tasks:
        if task.joins and task.exports and task.name in wanted and not wanted.issuperset(task.edges):
            raise UsageError(
                f"the task {task.name!r} gathers what all of its instances export, of which some are left out: begin at {task.name!r}"
            )
        for item in task.imports if task.name in wanted else ():
            if item.task not in wanted:
                raise UsageError(
                    f"the task {task.name!r} imports {item.variable!r} of {item.task!r}, which is left out: begin at {item.task!r}"
                )
    return replace(
        group,
        tasks=tuple(
            replace(task, depends_on=tuple(name for name in task.depends_on if name in wanted))
            for task in group.tasks
            if task.name in wanted
        ),
    )


def _known(group: TaskGroup, names: Iterable[str]) -> Mapping[str, Task]:
    tasks = {task.name: task for task in group.tasks}
    for name in names:
        if name not in tasks:
            raise UsageError(no_such_task(name, tasks))
    return tasks


def _reached(names: Iterable[str], onward: Callable[[str], Sequence[str]]) -> set[str]:
    reached: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += onward(name)
    return reached
