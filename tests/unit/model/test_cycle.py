"""Cycles, against an obviously right search."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.model.cycle import cycles


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    count = draw(st.integers(0, 9))
    return [
        draw(st.lists(st.sampled_from([other for other in range(count) if other != node]), max_size=3, unique=True))
        if count > 1
        else []
        for node in range(count)
    ]


def reachable(edges: list[list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    left = list(edges[start])
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left += edges[node]
    return seen


def knots(edges: list[list[int]]) -> set[frozenset[int]]:
    reach = [reachable(edges, node) for node in range(len(edges))]
    return {
        frozenset(other for other in range(len(edges)) if other in reach[node] and node in reach[other])
        for node in range(len(edges))
        if node in reach[node]
    }


@given(graphs())
def test_one_real_cycle_for_every_knot(edges: list[list[int]]) -> None:
    found = cycles(edges)
    for cycle in found:
        assert len(set(cycle)) == len(cycle) >= 2
        assert all(cycle[(at + 1) % len(cycle)] in edges[node] for at, node in enumerate(cycle))
    expected = knots(edges)
    assert sorted(cycle[0] for cycle in found) == [cycle[0] for cycle in found] == sorted(map(min, expected))
    assert all(any(set(cycle) <= knot for knot in expected) for cycle in found)


def test_the_shortest_way_round_is_told() -> None:
    assert cycles([[1], [2], [3, 0], [0]]) == [[0, 1, 2]]


def test_two_knots() -> None:
    assert cycles([[1], [0], [0, 3], [2], []]) == [[0, 1], [2, 3]]


def test_depth_is_no_matter() -> None:
    count = 50_000
    assert cycles([[(node + 1) % count] for node in range(count)]) == [list(range(count))]
    assert cycles([[node + 1] for node in range(count - 1)] + [[]]) == []
