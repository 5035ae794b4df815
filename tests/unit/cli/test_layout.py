"""Places of tasks in a picture: nothing lies on anything else, and nothing leads back."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runner.cli import layout
from runner.cli.layout import PASSAGE, Layout
from runner.model.task import Task

NEARLY = 1e-6


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    count = draw(st.integers(1, 25))
    return [
        Task(
            name=f"t{number}",
            type="t",
            depends_on=tuple(f"t{each}" for each in sorted(draw(st.sets(st.integers(0, number - 1), max_size=4)))),
        )
        if number
        else Task(name="t0", type="t")
        for number in range(count)
    ]


def check(tasks: list[Task]) -> Layout:
    found = layout.of(tasks)
    columns: dict[int, list[tuple[float, float]]] = {}
    for column, at in found.places.values():
        columns.setdefault(column, []).append((at, 0.5))
    for task in tasks:
        for edge in task.edges:
            route = [found.places[edge], *found.routes[edge, task.name], found.places[task.name]]
            assert all(left < right for (left, _), (right, _) in pairwise(route))
            for column, at in route[1:-1]:
                columns[column].append((at, PASSAGE / 2))
    for taken in columns.values():
        for (upper, above), (lower, below) in pairwise(sorted(taken)):
            assert upper + above <= lower - below + NEARLY
        for at, half in taken:
            assert at - half >= -NEARLY
            assert at + half <= found.height + NEARLY
    assert sorted(columns) == list(range(found.columns))
    return found


@given(graphs())
def test_nothing_overlaps_and_all_goes_to_the_right(tasks: list[Task]) -> None:
    assert check(tasks) == layout.of(tasks)


def test_what_belongs_together_is_level() -> None:
    pairs = [Task(name=f"a{n}", type="t") for n in range(3)]
    pairs += [Task(name=f"b{n}", type="t", depends_on=(f"a{2 - n}",)) for n in range(3)]
    found = check(pairs)
    for n in range(3):
        assert abs(found.places[f"b{n}"][1] - found.places[f"a{2 - n}"][1]) < NEARLY


def test_a_wide_group_is_laid_out_and_very_long_edges_go_straight() -> None:
    chain = [Task(name=f"c{n}", type="t", depends_on=(f"c{n - 1}",) if n else ()) for n in range(1_000)]
    many = [Task(name=f"m{n}", type="t", depends_on=("c0", "c998")) for n in range(30)]
    found = layout.of(chain + many)
    assert found.columns == 1_000
    assert not any(found.routes.values())
