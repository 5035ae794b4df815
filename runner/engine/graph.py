"""The DAG of a group, as indices in declaration order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runner.model.task import Task


class Graph(Struct, frozen=True):
    """`parents[i]` are the edges of task i (ordering and data, each once, in declaration order); `children` the inverse."""

    index: dict[str, int]
    parents: tuple[tuple[int, ...], ...]
    children: tuple[tuple[int, ...], ...]


def build(tasks: Sequence[Task]) -> Graph:
    """The graph of a validated group: names are unique, edges lead to known tasks, there is no cycle."""
    index = {task.name: position for position, task in enumerate(tasks)}
    parents = tuple(tuple(sorted(index[name] for name in task.edges)) for task in tasks)
    children: list[list[int]] = [[] for _ in tasks]
    for child, its_parents in enumerate(parents):
        for parent in its_parents:
            children[parent].append(child)
    return Graph(index=index, parents=parents, children=tuple(map(tuple, children)))
