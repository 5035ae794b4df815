"""The matrices of one group: how many instances of each are under way at once, and how the first that fails ends the others.

What is written down are the rows of the instances, from which a later engine knows both.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.model.event import Kind
from runner.model.result import Abort, Outcome, Skip, Status, Waiting
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun
    from runner.engine.state import TaskState


class _Matrix:
    """`under_way` are the instances that hold one of its places: each from when nothing but a slot or a runner is missing up to its end, retries
    included. `waiting` is a heap, and may hold others that do no more."""

    __slots__ = ("because_of", "indices", "limit", "next", "under_way", "waiting")

    def __init__(self, indices: Sequence[int], limit: int | None) -> None:
        self.indices = indices
        self.limit = limit
        self.under_way: set[int] = set()
        self.waiting: list[int] = []
        self.because_of: str | None = None
        """The instance whose failure ends the others."""
        self.next = 0
        """The first of `indices` that `end_some` has not looked at."""

    @property
    def is_full(self) -> bool:
        return self.limit is not None and len(self.under_way) >= self.limit


class Matrices:
    def __init__(self, run: GroupRun) -> None:
        self._run = run
        self._by_name = {
            name: _Matrix(indices, cell.max_parallel)
            for name, indices in run.plan.matrices.items()
            if (cell := run.tasks[indices[0]].task.matrix) is not None
        }
        self._ending: list[_Matrix] = []
        """Instances of these may still have to be ended."""

    def begin(self) -> None:
        """Of what the rows say: which instances are under way, and which matrices have failed."""
        for matrix in self._by_name.values():
            for index in matrix.indices:
                state = self._run.tasks[index]
                if state.attempts and not state.status.terminal:
                    matrix.under_way.add(index)
                elif matrix.because_of is None and self._has_failed(state):
                    self._fail(matrix, state.task.name)

    # Places.

    def admits(self, state: TaskState) -> bool:
        """Whether there is a place for the task, which it then holds. Else it waits, and is decided anew when there is one."""
        matrix = self._of(state.task)
        if matrix is None or matrix.limit is None or state.index in matrix.under_way:
            return True
        if not matrix.is_full:
            matrix.under_way.add(state.index)
            return True
        heapq.heappush(matrix.waiting, state.index)
        if state.waiting is not Waiting.MATRIX:  # else a former engine has told it
            state.waiting = Waiting.MATRIX
            self._run.event(Kind.TASK_WAITING, state, waiting=Waiting.MATRIX.value)
            self._run.services.journal.mark(state)
        return False

    def over(self, state: TaskState) -> None:
        """The task is: whoever waits for its place is to be decided, which is for `settle`."""
        matrix = self._of(state.task)
        if matrix is None:
            return
        matrix.under_way.discard(state.index)
        while matrix.waiting and not matrix.is_full:
            following = self._run.tasks[heapq.heappop(matrix.waiting)]
            if following.status is Status.PENDING:
                self._run.frontier.add(following)
                return  # where it takes no place either, this is told of its end

    # The failure of one.

    def ends(self, task: Task) -> bool:
        """Whether it has to end because another instance has failed."""
        matrix = self._of(task)
        return matrix is not None and matrix.because_of is not None

    def because_of(self, task: Task) -> str | None:
        matrix = self._of(task)
        return None if matrix is None else matrix.because_of

    def failed(self, state: TaskState) -> None:
        """A task that has ended so; what does not run of its matrix is ended by `end_some`."""
        matrix, run = self._of(state.task), self._run
        if matrix is None or matrix.because_of is not None or not self._has_failed(state):
            return
        self._fail(matrix, state.task.name)
        for index in sorted(run.running.intersection(matrix.indices)):
            if run.tasks[index].status is Status.RUNNING:
                run.attempts.stop(run.tasks[index], run.services.grace)

    def _fail(self, matrix: _Matrix, because_of: str) -> None:
        matrix.because_of = because_of
        matrix.next = 0
        self._ending.append(matrix)

    @staticmethod
    def _has_failed(state: TaskState) -> bool:
        """And is the first of its matrix: of another one it is told because of whom it was to end."""
        cell = state.task.matrix
        counts = cell is not None and cell.fail_fast and not state.task.allow_failure
        return counts and state.trouble and state.because_of is None

    @property
    def is_ending(self) -> bool:
        """Whether there may be more for `end_some`."""
        return bool(self._ending)

    def end_some(self, most: int) -> int:
        """End instances that do not run and are not to begin, with about the effort `most`; how much it was."""
        matrix, effort, run = self._ending[0], 0, self._run
        while matrix.next < len(matrix.indices) and effort < most:
            state = run.tasks[matrix.indices[matrix.next]]
            matrix.next += 1
            effort += 1
            if state.status is Status.PENDING and not run.abortion.closes(state.task):  # which ends them all
                self.end(state)
                effort += run.effort(state)
        if matrix.next == len(matrix.indices):
            self._ending.pop(0)
        return max(1, effort)

    def end(self, state: TaskState) -> None:
        """Of one that does not run."""
        run, because_of = self._run, self.because_of(state.task)
        if run.pausing.stands(state):
            return
        if state.attempts == 0:
            run.skip(state, Skip.FAIL_FAST, because_of)
            return
        state.because_of = because_of
        last = state.outcome or Outcome(status=Status.ABORTED)
        now = run.services.clock.now().wall
        reason = Abort.FAIL_FAST.value
        run.conclude(state, replace(last, status=Status.ABORTED, reason=reason, outputs={}, finished_at=now))

    def _of(self, task: Task) -> _Matrix | None:
        return None if task.matrix is None else self._by_name.get(task.matrix.of)
