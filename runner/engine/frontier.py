"""The edge of what is over: tasks that can be decided, for all that they wait for is."""

from __future__ import annotations

import heapq
from collections import deque

from runner.engine.state import Plan, TaskState
from runner.model.result import Status


class Frontier:
    """Tasks that can be decided, lowest index first. Thousands may wait for one task: they are told of its end piece by piece."""

    def __init__(self, plan: Plan, most: int) -> None:
        """`most` are told in one call."""
        self._plan = plan
        self._most = most
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
                if state.missing == 0 and state.status is Status.PENDING and state.retry_at is None
            ]

    def over(self, state: TaskState) -> None:
        """Tell those that wait for it, behind those that wait for others."""
        self._over.append(state)
        if len(self._over) == 1:
            self.tell()

    def tell(self) -> None:
        """Tell some."""
        tasks, left = self._plan.tasks, self._most
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

    def take(self) -> TaskState | None:
        """The next task to decide; None for none."""
        while self._decidable:
            state = self._plan.tasks[heapq.heappop(self._decidable)]
            if state.status is Status.PENDING:
                return state
        return None
