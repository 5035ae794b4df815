"""Who gets the next free slot: round robin over callers, then over groups; within a group declaration order."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable

from runner.model.load import Load


class _Group:
    """The tasks of one group that wait. `ready` is a heap, and may hold others that do no more."""

    __slots__ = ("ready", "waiting")

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.waiting: set[int] = set()


class SlotQueue:
    """Ready tasks that wait for a slot. Fair, deterministic; every operation is O(log n) in the group's ready tasks.

    Callers stand in a circle, and in each of them its groups: who begins to wait joins it at its end, who was served goes
    to its end, and who has nothing that waits when slots are given out leaves it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        """How many attempts hold a slot."""
        self.closed = False
        """Nobody is given one any more."""
        self.added: list[tuple[str, int]] = []
        """What was added since somebody last cleared this list."""
        self._callers: OrderedDict[str, OrderedDict[str, _Group]] = OrderedDict()
        self._emptied: list[tuple[str, str]] = []
        """The callers and groups of which the last waiting task was dropped."""

    @property
    def ready(self) -> bool:
        """Whether a task waits and a slot is free for it."""
        return not self.closed and self.taken < self.limit and bool(self._callers)

    @property
    def load(self) -> Load:
        waiting = sum(len(entry.waiting) for groups in self._callers.values() for entry in groups.values())
        return Load(slots=self.limit, taken=self.taken, waiting=waiting)

    def add(self, caller: str, group: str, index: int) -> None:
        self.added.append((group, index))
        groups = self._callers.get(caller)
        if groups is None:
            groups = self._callers[caller] = OrderedDict()
        entry = groups.get(group)
        if entry is None:
            entry = groups[group] = _Group()
        entry.waiting.add(index)
        heapq.heappush(entry.ready, index)

    def waiting(self, caller: str, group: str) -> list[int]:
        """The tasks of the group that wait, in their order."""
        entry = self._entry(caller, group)
        return [] if entry is None else sorted(entry.waiting)

    def drop(self, caller: str, group: str, index: int) -> None:
        """The task does not wait any more, if it did."""
        entry = self._entry(caller, group)
        if entry is not None and index in entry.waiting:
            entry.waiting.remove(index)
            if not entry.waiting:
                self._emptied.append((caller, group))

    def keep(self, caller: str, group: str, indices: Iterable[int]) -> None:
        """Of the group none but these wait any more, as far as they did; however many there were, that takes no time."""
        entry = self._entry(caller, group)
        if entry is not None and entry.waiting:
            entry.waiting = entry.waiting.intersection(indices)
            entry.ready = sorted(entry.waiting)
            if not entry.waiting:
                self._emptied.append((caller, group))

    def settle(self) -> None:
        """Let those leave the circle of whom nothing waits. Called before slots are given out, also when none is free."""
        for caller, group in self._emptied:
            groups = self._callers.get(caller)
            if groups is not None and group in groups and not groups[group].waiting:
                self._leave(caller, group)
        self._emptied.clear()

    def take(self) -> tuple[str, int]:
        """The next (group, index), of those that are `ready`."""
        caller, groups = next(iter(self._callers.items()))
        group, entry = next(iter(groups.items()))
        while (index := heapq.heappop(entry.ready)) not in entry.waiting:
            pass
        entry.waiting.remove(index)
        self._callers.move_to_end(caller)
        groups.move_to_end(group)
        if not entry.waiting:
            self._leave(caller, group)
        return group, index

    def _entry(self, caller: str, group: str) -> _Group | None:
        groups = self._callers.get(caller)
        return None if groups is None else groups.get(group)

    def _leave(self, caller: str, group: str) -> None:
        groups = self._callers[caller]
        del groups[group]
        if not groups:
            del self._callers[caller]
