"""Who gets the next free slot: round robin over callers, then over groups; within a group declaration order."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable


class SlotQueue:
    """Ready tasks that wait for a slot. Fair, deterministic; every operation is O(log n) in the group's ready tasks.

    A task that no longer waits stays until it would have its turn.
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

    def take(self, waits: Callable[[str, int], bool]) -> tuple[str, int] | None:
        """The next (group, index) that still `waits`; None when there is none. Those that do not are dropped, and cost
        their caller and group no turn."""
        while self._callers:
            caller, groups = next(iter(self._callers.items()))
            group, ready = next(iter(groups.items()))
            index = heapq.heappop(ready)
            chosen = waits(group, index)
            if chosen:
                self._callers.move_to_end(caller)
                groups.move_to_end(group)
            if not ready:
                del groups[group]
            if not groups:
                del self._callers[caller]
            if chosen:
                return group, index
        return None
