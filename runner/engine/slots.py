"""Who gets the next free slot: round robin over callers, then over groups; within a group declaration order."""

from __future__ import annotations

import heapq
from collections import OrderedDict


class SlotQueue:
    """Ready tasks that wait for a slot. Fair, deterministic; every operation is O(log n) in the group's ready tasks.

    A task that no longer waits stays until its turn: whoever takes it looks whether it still wants the slot.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        """How many attempts hold a slot."""
        self.added: list[tuple[str, int]] = []
        """What was added since somebody last cleared this list."""
        self._callers: OrderedDict[str, OrderedDict[str, list[int]]] = OrderedDict()

    @property
    def ready(self) -> bool:
        """Whether a task waits and a slot is free for it."""
        return self.taken < self.limit and bool(self._callers)

    def add(self, caller: str, group: str, index: int) -> None:
        self.added.append((group, index))
        heapq.heappush(self._callers.setdefault(caller, OrderedDict()).setdefault(group, []), index)

    def take(self) -> tuple[str, int]:
        """The next (group, index). Only when `ready`."""
        caller, groups = self._callers.popitem(last=False)
        group, ready = groups.popitem(last=False)
        index = heapq.heappop(ready)
        if ready:
            groups[group] = ready
        if groups:
            self._callers[caller] = groups
        return group, index
