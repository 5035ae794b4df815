"""Cycles in a graph of numbered nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence


def cycles(edges: Sequence[Sequence[int]]) -> list[list[int]]:
    """For every knot (a set of nodes that all reach each other) one shortest cycle through its first node, in the order
    of these nodes. `edges[n]` are the nodes that `n` leads to, `n` itself not among them. The cost is linear."""
    if all(target < node for node, targets in enumerate(edges) for target in targets):
        return []
    return sorted(_shortest_cycle(edges, min(knot), frozenset(knot)) for knot in _knots(edges))


def _knots(edges: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Strongly connected components of more than one node: Tarjan's algorithm (1972), its recursion on a stack."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()
    work: list[tuple[int, Iterator[int]]] = []

    def enter(node: int) -> None:
        order[node] = low[node] = len(order)
        path.append(node)
        on_path.add(node)
        work.append((node, iter(edges[node])))

    for root in range(len(edges)):
        if root not in order:
            enter(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in order:
                    enter(target)
                    break
                if target in on_path:
                    low[node] = min(low[node], order[target])
            else:
                work.pop()
                if work:
                    outer = work[-1][0]
                    low[outer] = min(low[outer], low[node])
                if low[node] == order[node]:
                    knot = [path.pop()]
                    while knot[-1] != node:
                        knot.append(path.pop())
                    on_path.difference_update(knot)
                    if len(knot) > 1:
                        yield knot


def _shortest_cycle(edges: Sequence[Sequence[int]], start: int, knot: frozenset[int]) -> list[int]:
    came_from: dict[int, int] = {}
    queue = deque([start])
    while True:
        node = queue.popleft()
        for target in edges[node]:
            if target == start:
                cycle = [node]
                while cycle[-1] != start:
                    cycle.append(came_from[cycle[-1]])
                return cycle[::-1]
            if target in knot and target not in came_from:
                came_from[target] = node
                queue.append(target)
