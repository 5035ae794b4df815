"""Places for the tasks of a group in a picture: a column for each layer, few crossings, edges that are as level as can be. Pure.

An edge over several columns passes through places of its own in those between, so that it crosses no task. The order in a column is by the
mean of the neighbours, from left to right and back; the heights are then those that are nearest to theirs without changing that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from runner.cli.drawing import in_order, layers_of
from runner.model.task import Task

SWEEPS = 6
MOST_PLACES = 20_000
"""With those that edges pass through. In a group that would need more, long edges go straight."""

PASSAGE = 0.4
"""How much of the height of a task an edge needs that passes."""

Edge = tuple[str, str]


class Layout(Struct, frozen=True, kw_only=True):
    """`places` maps each task to its column and its height, the top of the picture being 0 and a task 1 high; `routes` each edge (from, to) to the
    places between its ends. `columns` and `height` say how large it is."""

    places: Mapping[str, tuple[int, float]]
    routes: Mapping[Edge, Sequence[tuple[int, float]]]
    columns: int
    height: float


class _Place:
    __slots__ = ("at", "column", "left", "right", "size")

    def __init__(self, column: int, size: float) -> None:
        self.column = column
        self.size = size
        self.at = 0.0
        self.left: list[_Place] = []
        self.right: list[_Place] = []


def of(tasks: Sequence[Task]) -> Layout:
    """The same for the same tasks. Takes as long as there are edges, a long one counting for each of its columns."""
    ordered = in_order(tasks)
    layers = layers_of(ordered)
    count = max(layers.values(), default=0) + 1
    columns: list[list[_Place]] = [[] for _ in range(count)]
    places = {}
    for task in ordered:
        places[task.name] = _Place(layers[task.name], 1.0)
        columns[layers[task.name]].append(places[task.name])
    edges = [(edge, task.name) for task in ordered for edge in task.edges]
    through = sum(layers[to] - layers[start] - 1 for start, to in edges)
    passages = _passages(edges, places, columns) if through + len(ordered) <= MOST_PLACES else {}
    _order(columns)
    _level(columns)
    top = min(place.at - place.size / 2 for column in columns for place in column)
    bottom = max(place.at + place.size / 2 for column in columns for place in column)
    return Layout(
        places={name: (place.column, place.at - top) for name, place in places.items()},
        routes={edge: [(each.column, each.at - top) for each in passages.get(edge, ())] for edge in edges},
        columns=count,
        height=bottom - top,
    )


def _passages(
    edges: Sequence[Edge], places: Mapping[str, _Place], columns: Sequence[list[_Place]]
) -> dict[Edge, list[_Place]]:
    """Where each edge passes, which joins the columns that it is in."""
    found = {}
    for start, to in edges:
        passed = [_Place(column, PASSAGE) for column in range(places[start].column + 1, places[to].column)]
        for place in passed:
            columns[place.column].append(place)
        for left, right in pairwise([places[start], *passed, places[to]]):
            left.right.append(right)
            right.left.append(left)
        found[start, to] = passed
    return found


def _order(columns: Sequence[list[_Place]]) -> None:
    for column in columns:
        _number(column)
    for sweep in range(SWEEPS):
        back = sweep % 2 == 1
        for column in reversed(columns) if back else columns:
            wanted = {id(place): _mean(place.right if back else place.left, place.at) for place in column}
            column.sort(key=lambda place: wanted[id(place)])
            _number(column)


def _number(column: Sequence[_Place]) -> None:
    for number, place in enumerate(column):
        place.at = float(number)


def _mean(neighbours: Sequence[_Place], otherwise: float) -> float:
    return sum(place.at for place in neighbours) / len(neighbours) if neighbours else otherwise


def _level(columns: Sequence[list[_Place]]) -> None:
    for sweep in range(SWEEPS):
        back = sweep % 2 == 1
        for column in reversed(columns) if back else columns:
            _settle(column, [_mean(place.right if back else place.left, place.at) for place in column])


def _settle(column: Sequence[_Place], wanted: Sequence[float]) -> None:
    """As near to what is wanted as can be, in this order and without overlaps: runs of places that would be too close share the mean of
    where they would begin."""
    before = 0.0
    offsets = []
    for place in column:
        offsets.append(before + place.size / 2)
        before += place.size
    runs: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, many = want - offset, 1
        while runs and runs[-1][0] / runs[-1][1] > total / many:
            last, several = runs.pop()
            total, many = total + last, many + several
        runs.append((total, many))
    at = 0
    for total, many in runs:
        for place, offset in zip(column[at : at + many], offsets[at : at + many], strict=True):
            place.at = total / many + offset
        at += many
