"""The attempts of one group: handing them to the executor, hearing of them, stopping them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runner.engine.services import CONFIRM_SECONDS
from runner.engine.state import AttemptState, TaskState
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.result import Outcome, Status, Waiting

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


class Attempts:
    def __init__(self, run: GroupRun) -> None:
        self._run = run
        self._services = run.services
        self.unconfirmed: set[AttemptId] = set()
        """Attempts that the group went on without, because nobody said that they stopped."""

    def begin(self, state: TaskState) -> None:
        """Write the next attempt down, then hand it to the executor."""
        services = self._services
        attempt = state.attempt = AttemptState(
            AttemptId(self._run.id, state.task.name, state.attempts),
            services.dispatcher.name,
            services.dispatcher.instance,
            services.clock.now(),
        )
        services.journal.mark(attempt)
        self._run.event(Kind.TASK_DISPATCHED, state, runner=attempt.runner)
        services.journal.then(partial(self._send, state, attempt, resumed=False))

    def resume(self, state: TaskState) -> AttemptId:
        """Reach for an attempt that a former engine handed out, and stop it if that was under way."""
        attempt = state.attempt
        assert attempt is not None, "a running task has an attempt"
        services = self._services
        services.journal.anyway(partial(self._send, state, attempt, resumed=True))  # it is written down already
        if attempt.cancel_at is not None and attempt.cancel_grace is not None:
            self._arm_force(state, attempt)
            services.journal.anyway(partial(services.dispatcher.cancel, attempt.id, attempt.cancel_grace))
        return attempt.id

    def _send(self, state: TaskState, attempt: AttemptState, *, resumed: bool) -> None:
        if attempt.status.terminal:
            return  # it was given up while the store could not write the dispatch down
        attempt.sent = True
        dispatch = Dispatch(
            id=attempt.id,
            instance=attempt.instance,
            task=state.task,
            bindings=self._run.bindings(state),
            workspace=self._run.workspace,
            grace=self._services.grace,
            resumed=resumed,
            handle=attempt.handle,
            started_at=attempt.started_at,
            paused=attempt.paused,
            told_paused=state.waiting is Waiting.PAUSED,
            traceparent=self._run.traceparent(attempt.id),
            on_behalf_of=self._run.caller,
        )
        self._services.dispatcher.submit(dispatch)
        self._services.dispatcher.events(attempt.id, attempt.sequence, self._services.sink)

    def signal(self, task: str, signal: str) -> bool:
        """Pass a signal to the running attempt; False when none runs. A pause is written down first, so that it is not lost with
        a runner that is killed while it passes it on."""
        state = self._run.task(task)
        attempt = state.attempt
        if state.status is not Status.RUNNING or attempt is None:
            return False
        if signal in ("pause", "start"):
            attempt.paused = signal == "pause"
            self._services.journal.mark(attempt)
        journal = self._services.journal
        pass_on = journal.anyway if attempt.sent else journal.then  # behind the attempt itself
        pass_on(partial(self._services.dispatcher.signal, attempt.id, signal))
        return True

    # Hearing.

    def report(self, report: Report) -> None:
        """Something that the executor says. Repetitions and what comes after the end are harmless."""
        state = self._run.task(report.id.task)
        attempt = state.attempt
        if attempt is None or attempt.id != report.id or attempt.status.terminal:
            self._late(state, report)
        elif report.sequence > attempt.sequence:
            attempt.sequence = report.sequence
            self._heard(state, attempt, report)
            self._services.journal.mark(attempt)

    def _heard(self, state: TaskState, attempt: AttemptState, report: Report) -> None:
        run = self._run
        if isinstance(report, Started):
            if (
                attempt.status is not Status.RUNNING
            ):  # one that another life of its executor began anew has started already
                run.event(Kind.TASK_STARTED, state)
            attempt.started_event = run.last_event
            attempt.status = Status.RUNNING
            attempt.started_at = report.at
            attempt.handle = report.handle
            if state.started_at is None:
                state.started_at = report.at
                self._services.journal.mark(state)
        elif isinstance(report, Noticed):
            if report.kind in (Kind.TASK_PAUSED, Kind.TASK_RESUMED):
                state.waiting = Waiting.PAUSED if report.kind is Kind.TASK_PAUSED else None
                self._services.journal.mark(state)
            run.event(report.kind, state, **report.fields)
        else:
            self._measured(state, attempt, report.outcome.started_at)
            # First, so that the executor is not told that the group is over while it still keeps this end.
            self._acknowledge(report)
            run.ended(state, attempt, report.outcome)
            run.settle()

    def _measured(self, state: TaskState, attempt: AttemptState, started_at: float | None) -> None:
        """Take both ends of an attempt from whoever measured it: `Started` tells the time at which it was said, a little later."""
        if started_at is not None and attempt.started_at is not None:
            if state.started_at == attempt.started_at:
                state.started_at = started_at
                self._services.journal.mark(state)
            attempt.started_at = started_at

    def _late(self, state: TaskState, report: Report) -> None:
        if not isinstance(report, Finished):
            return
        if report.id in self.unconfirmed:
            self.unconfirmed.discard(report.id)
            outcome = report.outcome
            self._run.event(Kind.LATE_RESULT, state, status=outcome.status.value, reason=outcome.reason)
        self._acknowledge(report)

    def _acknowledge(self, report: Finished) -> None:
        acknowledge = self._services.dispatcher.acknowledge
        self._services.journal.when_durable(partial(acknowledge, report.id, report.sequence))

    # Stopping.

    def stop(self, state: TaskState, grace: float) -> None:
        """Ask the running attempt to end; once it has had its time, go on without its word."""
        attempt = state.attempt
        assert attempt is not None, "a running task has an attempt"
        if not attempt.sent:
            # The store has not taken it since it was begun. Nobody else knows it, so nobody has to confirm its end.
            now = self._services.clock.now().wall
            self._run.ended(state, attempt, Outcome(status=Status.ABORTED, finished_at=now))
            self._services.journal.mark(attempt)
            return
        if attempt.cancel_grace is not None and attempt.cancel_grace <= grace:
            return
        attempt.cancel_grace = grace
        if attempt.cancel_at is None:
            attempt.cancel_at = self._services.clock.now()
            self._arm_force(state, attempt)
        self._services.journal.mark(attempt)
        self._services.journal.anyway(partial(self._services.dispatcher.cancel, attempt.id, grace))

    def _arm_force(self, state: TaskState, attempt: AttemptState) -> None:
        assert attempt.cancel_at is not None
        now = self._services.clock.now().boot
        due = self._run.abortion.due(attempt.cancel_at, self._services.grace + CONFIRM_SECONDS)
        if due < now:
            # The time passed while no engine was there to listen: the executor may have confirmed, and is heard first.
            due = now + CONFIRM_SECONDS
        attempt.force_timer = self._services.clock.call_at(due, partial(self._force, state, attempt))

    def _force(self, state: TaskState, attempt: AttemptState) -> None:
        attempt.force_timer = None
        self.unconfirmed.add(attempt.id)
        outcome = Outcome(
            status=Status.ABORTED,
            kill={"confirmed": False},
            error=f"{attempt.runner} did not confirm that the attempt stopped; it may still run there",
            started_at=attempt.started_at,
            finished_at=self._services.clock.now().wall,
        )
        self._run.ended(state, attempt, outcome)
        self._run.settle()
        self._services.journal.mark(attempt)
        self._services.journal.wake()
