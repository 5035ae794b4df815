"""How a group stands still because a task of it has failed, until somebody says what follows: that the task is tried once more, or that its
failure stands.

Whose failure is held is pending, and waits for that decision; what runs meanwhile goes on to its end, and nothing else begins. A group that is
ended early waits for nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.engine.outputs import output_bytes
from runner.engine.state import NO_OUTPUTS
from runner.model.dispatch import RETRY
from runner.model.event import Kind
from runner.model.result import Outcome, Status, Waiting
from runner.store.base import GroupRow

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun
    from runner.engine.state import TaskState


class Pausing:
    def __init__(self, run: GroupRun, row: GroupRow) -> None:
        self._run = run
        self._is_wanted = row.pause_on_failure
        self._first = row.paused_by
        """Of a former engine."""
        self._held: dict[int, None] = {}
        """The tasks whose failure waits for a decision, in the order in which they failed."""
        self._chosen: set[int] = set()
        """Those that somebody has tried once more: they may begin while others are held."""
        self._deferred: set[int] = set()
        """Those that could begin."""

    @property
    def is_paused(self) -> bool:
        """Nothing is decided or begun."""
        return bool(self._held) and self._run.abortion.reason is None

    def into(self, row: GroupRow) -> GroupRow:
        by = self._run.tasks[next(iter(self._held))].task.name if self._held else None
        return row if by == row.paused_by else replace(row, paused_by=by)

    def restore(self, state: TaskState) -> None:
        """Of a task that does not run, as a former engine has left it."""
        if state.waiting is Waiting.DECISION:
            first = {state.index: None} if state.task.name == self._first else {}
            self._held = {**first, **self._held, state.index: None}
        elif self._first is not None and state.attempts and state.waiting is Waiting.SLOT:
            self._chosen.add(state.index)

    def resume(self) -> None:
        """Let begin again what somebody had tried once more."""
        for index in sorted(self._chosen) if self.is_paused else ():
            self._run.forwarding.proceed(self._run.tasks[index])

    def holds(self, state: TaskState, outcome: Outcome) -> bool:
        """The last attempt at a task is over like this: whether somebody has to say what follows. Then it is held from now on."""
        run = self._run
        if (
            not self._is_wanted
            or outcome.status not in (Status.FAILED, Status.ERRORED)
            or state.task.allow_failure
            or run.abortion.reason is not None
            or run.matrices.ends(state.task)
        ):
            return False
        if not self._held:
            self._stand_still()
        self._held[state.index] = None
        self._chosen.discard(state.index)
        state.status, state.waiting = Status.PENDING, Waiting.DECISION
        state.outcome, state.outputs = outcome, outcome.outputs
        run.event(
            Kind.TASK_HELD, state, status=outcome.status.value, reason=outcome.reason, exit_code=outcome.exit_code,
            signal=outcome.signal, error=outcome.error,
        )  # fmt: skip
        run.services.journal.mark(state)
        run.services.journal.mark(run)
        return True

    def _stand_still(self) -> None:
        run, services = self._run, self._run.services
        run.abortion.rest()
        for index in services.slots.waiting(run.caller, run.id):
            if index not in self._chosen:
                run.tasks[index].queued = False
                self.defer(run.tasks[index])
        services.slots.keep(run.caller, run.id, self._chosen)

    def keeps(self, state: TaskState) -> bool:
        """Whether a task that could begin has to wait until the group goes on."""
        return self.is_paused and state.index not in self._chosen

    def defer(self, state: TaskState) -> None:
        """One that `keeps` does."""
        has_row = state.attempts or state.waiting in (Waiting.PEER_UNREACHABLE, Waiting.MATRIX)
        state.waiting = Waiting.PAUSED
        self._deferred.add(state.index)
        if has_row:
            self._run.services.journal.mark(state)

    def decide(self, task: str, decision: str) -> bool:
        """Somebody says what follows from the failure of the task, `retry` or `continue`; False where that is not held."""
        run = self._run
        state = run.task(task)
        if state.index not in self._held or not self.is_paused:
            return False
        del self._held[state.index]
        run.services.journal.mark(run)
        run.services.journal.wake()
        if decision == RETRY:
            run.output_bytes -= output_bytes(state.outputs)
            state.outputs = NO_OUTPUTS
            self._chosen.add(state.index)
            state.waiting = Waiting.SLOT
            run.services.journal.mark(state)
            run.forwarding.proceed(state)
        else:
            self._conclude(state)
        if not self._held:
            self._go_on()
        run.settle()
        return True

    def stands(self, state: TaskState) -> bool:
        """Of a task that has to end: whether its failure was held. It is not any more."""
        if state.index not in self._held:
            return False
        del self._held[state.index]
        self._run.services.journal.mark(self._run)
        self._conclude(state)
        if not self._held:
            self._go_on()
        return True

    def end(self) -> None:
        """The group is ended early: what failed has failed."""
        for index in sorted(self._held):
            self.stands(self._run.tasks[index])

    def _conclude(self, state: TaskState) -> None:
        assert state.outcome is not None, "an attempt that failed has an outcome"
        self._run.conclude(state, replace(state.outcome, outputs=state.outputs))

    def _go_on(self) -> None:
        """With all that could have begun meanwhile."""
        deferred, self._deferred = self._deferred, set()
        for index in sorted(deferred):
            if self._run.tasks[index].status is Status.PENDING:
                self._run.frontier.add(self._run.tasks[index])
        self._run.abortion.rest_no_more()
