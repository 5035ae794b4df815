"""The edge of what is over: tasks that can be decided, for all that they wait for is."""

from __future__ import annotations

import heapq
from collections import deque

from runner.engine.state import Plan, TaskState
from runner.model.result import Status, Waiting


class Frontier:
    """Tasks that can be decided, lowest index first. Thousands may wait for one task: they are told of its end piece by piece."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._decidable: list[int] = []
        """A heap."""
        self._over: deque[TaskState] = deque()
        """Of these not all that wait for them have been told."""
        self._told = 0
        """How many have been, of the first of them."""

    def __bool__(self) -> bool:
        """Whether there is something to be decided, or somebody to be told."""
        return bool(self._decidable or self._over)

    def begin(self, *, fresh: bool) -> None:
        """With the tasks that can be decided by now; of a `fresh` run nothing is over."""
        if fresh:
            self._decidable = list(self._plan.roots)
        else:
            self._decidable = [
                state.index
                for state in self._plan.tasks
                if state.missing == 0
                and state.status is Status.PENDING
                and state.retry_at is None
                and state.waiting is not Waiting.DECISION
            ]

    def over(self, state: TaskState) -> None:
        """Those that wait for it are to be told, behind those that wait for others."""
        if self._plan.graph.children[state.index]:
            self._over.append(state)

    def add(self, state: TaskState) -> None:
        """It is to be decided, once more."""
        heapq.heappush(self._decidable, state.index)

    @property
    def is_telling(self) -> bool:
        """Whether somebody is to be told."""
        return bool(self._over)

    def tell(self, most: int) -> int:
        """Tell up to so many; how many it were."""
        tasks, left = self._plan.tasks, most
        while self._over and left > 0:
            children = self._plan.graph.children[self._over[0].index]
            some = children[self._told : self._told + left]
            left -= len(some)
            self._told += len(some)
            for child in some:
                waiting = tasks[child]
                waiting.missing -= 1
                if waiting.missing == 0 and waiting.status is Status.PENDING:
                    heapq.heappush(self._decidable, child)
            if self._told == len(children):
                self._over.popleft()
                self._told = 0
        return most - left

    def take(self) -> TaskState | None:
        """The next task to decide, unless something else has become of it; None for none."""
        return self._plan.tasks[heapq.heappop(self._decidable)] if self._decidable else None
