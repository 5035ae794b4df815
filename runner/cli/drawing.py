"""Draws a task group as text. Pure.

    ●     checkout  os_exec
    ├─●   build     os_exec  ← checkout
    ● │   lint      os_exec  ← checkout
    ●─╯   deploy    os_exec  ← lint, build (url)

Every task is a row, in an order in which it may run; its line goes down until the last task that waits for it. A task that
stands on the line of another waits for that one. Groups that are too wide for lines are listed in layers.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from runner.model.group import TaskGroup
from runner.model.task import Task, When

MAX_RAILS = 24
MAX_NAMES = 8
NODE, DOWN, ACROSS = "●", "│", "─"


def draw(group: TaskGroup) -> Iterator[str]:
    """The drawing, line by line, below a line that says how large and how deep the group is."""
    tasks = in_order(group.tasks)
    layers = layers_of(tasks)
    depth = max(layers.values()) + 1
    count = len(tasks)
    yield f"{group.name or 'task group'}: {count} task{'s' * (count != 1)}, the longest chain has {depth}"
    yield ""
    names = max(len(task.name) for task in tasks)
    types = max(len(task.type) for task in tasks)
    # One row more than fits is enough to know that it does not fit.
    rails = list(takewhile(lambda rail: len(rail) < 2 * MAX_RAILS, draw_rails(tasks)))
    if len(rails) == len(tasks):
        width = max(len(rail) for rail in rails)
        for rail, task in zip(rails, tasks, strict=True):
            yield f"{rail:{width}}  {task.name:{names}}  {task.type:{types}}  {_notes(task)}".rstrip()
        return
    for layer, members in groupby(
        sorted(tasks, key=lambda task: layers[task.name]), key=lambda task: layers[task.name]
    ):
        yield f"layer {layer + 1}"
        for task in members:
            yield f"  {task.name:{names}}  {task.type:{types}}  {_notes(task)}".rstrip()


def in_order(tasks: Sequence[Task]) -> list[Task]:
    """An order in which every task comes behind what it waits for, as near to the document's as that allows."""
    index = {task.name: number for number, task in enumerate(tasks)}
    children: list[list[int]] = [[] for _ in tasks]
    missing = [len(task.edges) for task in tasks]
    for number, task in enumerate(tasks):
        for edge in task.edges:
            children[index[edge]].append(number)
    ready = [number for number, count in enumerate(missing) if count == 0]
    ordered = []
    while ready:
        number = heapq.heappop(ready)
        ordered.append(tasks[number])
        for child in children[number]:
            missing[child] -= 1
            if missing[child] == 0:
                heapq.heappush(ready, child)
    return ordered


def layers_of(ordered: Sequence[Task]) -> dict[str, int]:
    """How many tasks at least must have ended, one after another, before each may start."""
    layers: dict[str, int] = {}
    for task in ordered:
        layers[task.name] = max((layers[edge] + 1 for edge in task.edges), default=0)
    return layers


def draw_rails(ordered: Sequence[Task]) -> Iterator[str]:
    """For every task, in order, its row of lines: a column for each task that somebody below waits for."""
    waiting = {task.name: 0 for task in ordered}
    for task in ordered:
        for edge in task.edges:
            waiting[edge] += 1
    rails: list[str | None] = []
    just_ended: set[int] = set()
    for task in ordered:
        for edge in task.edges:
            waiting[edge] -= 1
        edges = set(task.edges)
        joined = [column for column, name in enumerate(rails) if name in edges]
        ends = {column for column in joined if waiting[rails[column] or ""] == 0}
        column = min(ends) if ends else _free(rails, just_ended)
        if column == len(rails):
            rails.append(None)
        yield _row(rails, joined, ends, column)
        just_ended = ends
        for ended in ends:
            rails[ended] = None
        rails[column] = task.name if waiting[task.name] else None
        # A line that begins right below one that ended would look like its continuation.
        just_ended = (just_ended | {column}) if rails[column] is None else just_ended - {column}
        while rails and rails[-1] is None and len(rails) - 1 not in just_ended:
            rails.pop()


def _free(rails: Sequence[str | None], just_ended: set[int]) -> int:
    free = (column for column, name in enumerate(rails) if name is None and column not in just_ended)
    return next(free, len(rails))


def _row(rails: Sequence[str | None], joined: Sequence[int], ends: set[int], column: int) -> str:
    touched = [*joined, column]
    first, last = min(touched), max(touched)
    row = ""
    for at, name in enumerate(rails):
        if at == column:
            row += NODE
        elif at in joined:
            row += _joint(at, first, last, ended=at in ends)
        elif name is not None:
            row += DOWN
        else:
            row += ACROSS if first < at < last else " "
        row += ACROSS if first <= at < last else " "
    return row.rstrip()


def _joint(at: int, first: int, last: int, *, ended: bool) -> str:
    if at == first:
        return "╰" if ended else "├"
    if at == last:
        return "╯" if ended else "┤"
    return "┴" if ended else "┼"


def _notes(task: Task) -> str:
    """What the task waits for, with the variables that it takes, and what else decides whether it runs."""
    taken: dict[str, list[str]] = {edge: [] for edge in task.edges}
    for item in task.imports:
        taken[item.task].append(item.variable)
    names = [name + (f" ({', '.join(variables)})" if variables else "") for name, variables in taken.items()]
    if len(names) > MAX_NAMES:
        names = [*names[:MAX_NAMES], f"… {len(names) - MAX_NAMES} more"]
    notes = [f"← {', '.join(names)}"] if names else []
    if task.when is not When.SUCCESS:
        notes.append(f"when {task.when}")
    if task.condition is not None:
        notes.append(f"if {task.condition}")
    return "; ".join(notes)
