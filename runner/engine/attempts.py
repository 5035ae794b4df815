"""The attempts of one group: handing them to the executor, hearing of them, stopping them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.dispatch.base import Dispatcher
from runner.engine.services import CONFIRM_SECONDS, Services
from runner.engine.state import AttemptState, TaskState
from runner.model.dispatch import PAUSES, WHOLE, AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.result import Abort, Outcome, Reason, Status, Waiting

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


def release(services: Services, group: str, runners: Sequence[str]) -> None:
    """The group is over, for all that have had something of it: beside `here` the `runners`."""
    here = services.targets.here
    here.release(group)
    for executor in map(services.targets.named, runners):
        if executor is not here:
            # Behind what it is told at the beginning of a life, which waits for that too.
            services.journal.anyway(partial(executor.release, group))


def _of_own_accord(attempt: AttemptState, outcome: Outcome) -> Outcome:
    """Where its runner ended it unasked, that is no abort of the group here."""
    is_so = attempt.forwarded and attempt.cancel_at is None and outcome.status is Status.ABORTED
    return replace(outcome, reason=Reason.ENDED_BY_RUNNER) if is_so and outcome.reason in set(Abort) else outcome


class Attempts:
    def __init__(self, run: GroupRun) -> None:
        self._run = run
        self._services = run.services
        self.unconfirmed: dict[AttemptId, Dispatcher] = {}
        """Attempts that the group went on without, because nobody said that they stopped, or because their runner was lost; and who
        has them."""
        self.runners: set[str] = set()
        """Who may have something of the group, beside this runner."""

    def begin(self, state: TaskState, executor: Dispatcher) -> None:
        """Write the next attempt down, then hand it to the executor."""
        services = self._services
        attempt = state.attempt = AttemptState(
            AttemptId(self._run.id, state.task.name, state.attempts),
            executor,
            services.clock.now(),
            forwarded=executor is not services.targets.here,
        )
        self.begun(attempt, resumed=False)
        self.runners.add(attempt.runner)
        services.journal.mark(attempt)
        self._run.event(Kind.TASK_DISPATCHED, state, runner=attempt.runner)
        self._begin_with(attempt, partial(self._send, state, attempt, resumed=False))

    def _begin_with(self, attempt: AttemptState, effect: Callable[[], None]) -> None:
        """Do what lets its executor know of an attempt, once that it does is written down."""
        journal = self._services.journal
        if attempt.forwarded:
            # Another machine lives on when this one loses its power, and then the attempt must not be sent to a third one.
            journal.once_durable(partial(journal.then, effect))
        else:
            journal.then(effect)

    def begun(self, attempt: AttemptState, *, resumed: bool) -> None:
        """It counts for what it takes."""
        if attempt.forwarded:
            self._services.abroad.left(self._run, attempt.id, attempt.runner, resumed=resumed)
        else:
            self._services.slots.taken += 1

    def over(self, attempt: AttemptState) -> None:
        """It takes nothing any more."""
        if attempt.forwarded:
            self._services.abroad.came_back(attempt.id, attempt.runner)
        else:
            self._services.slots.taken -= 1

    def resume(self, state: TaskState) -> AttemptState:
        """Reach for an attempt that a former engine handed out, and stop it if that was under way."""
        attempt = state.attempt
        assert attempt is not None, "a running task has an attempt"
        journal = self._services.journal
        send = partial(self._send, state, attempt, resumed=True)
        if attempt.forwarded:
            # It is written down already, but may not have been safe when that engine ended.
            journal.once_durable(partial(journal.anyway, send), written=True)
        else:
            journal.anyway(send)
        if attempt.cancel_at is not None and attempt.cancel_grace is not None:
            self._arm_force(state, attempt)
            journal.anyway(partial(attempt.executor.cancel, attempt.id, attempt.cancel_grace))
        return attempt

    def _send(self, state: TaskState, attempt: AttemptState, *, resumed: bool) -> None:
        if attempt.status.terminal:
            return  # it was given up while the store could not write the dispatch down
        attempt.sent = attempt.told = True
        dispatch = Dispatch(
            id=attempt.id,
            instance=attempt.instance,
            task=state.task,
            bindings=self._run.bindings(state, attempt.id.attempt),
            workspace=self._run.workspace,
            grace=self._services.grace,
            resumed=resumed,
            handle=attempt.handle,
            started_at=attempt.started_at,
            paused=attempt.paused,
            told_paused=state.waiting is Waiting.PAUSED,
            traceparent=self._run.traceparent(attempt.id),
            on_behalf_of=self._run.submitter,
            hops=self._run.hops,
        )
        executor = attempt.executor
        executor.submit(dispatch)
        executor.events(attempt.id, attempt.sequence, partial(self._services.sink, executor))

    def signal(self, task: str, signal: str) -> bool:
        """Pass a signal to the running attempt; False when none runs. A pause is written down first, so that it is not lost with
        a runner that is killed while it passes it on."""
        state = self._run.task(task)
        attempt = state.attempt
        if state.status is not Status.RUNNING or attempt is None:
            return False
        if signal in PAUSES:
            attempt.paused = signal == "pause"
            self._services.journal.mark(attempt)
        journal = self._services.journal
        pass_on = partial(attempt.executor.signal, attempt.id, signal)
        # Whether it is paused an executor that does not know it yet is told with the attempt itself.
        if attempt.told or (attempt.sent and not (attempt.forwarded and signal == "destroy")):
            journal.anyway(pass_on)
        elif signal == "destroy":
            self._begin_with(attempt, pass_on)
        return True

    # Hearing.

    def report(self, executor: Dispatcher, report: Report) -> None:
        """Something that the executor says. Repetitions and what comes after the end are harmless, and so is what another runner says
        of a task that there is not, or of an attempt that was not given to it."""
        entrusted = self._run.entrusted
        if entrusted is not None and (report.id.task == WHOLE or entrusted.is_elsewhere):
            if report.id.task == WHOLE:  # of which alone something is said while it is elsewhere
                entrusted.report(executor, report)
            return
        if report.id.task not in self._run.graph.index:
            return
        state = self._run.task(report.id.task)
        attempt = state.attempt
        if attempt is None or attempt.id != report.id or attempt.status.terminal:
            self._late(state, executor, report)
        elif executor is attempt.executor and report.sequence > attempt.sequence:
            attempt.sequence = report.sequence
            self._heard(state, attempt, report)
            self._services.journal.mark(attempt)

    def _heard(self, state: TaskState, attempt: AttemptState, report: Report) -> None:
        run = self._run
        if isinstance(report, Started):
            # One that another life of its executor has begun anew has started already.
            if attempt.status is not Status.RUNNING:
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
        elif isinstance(report, Finished):
            self._measured(state, attempt, report.outcome.started_at)
            # First, so that the executor is not told that the group is over while it still keeps this end.
            self._acknowledge(attempt.executor, report)
            if report.outcome.reason == Reason.RUNNER_LOST:
                self._lost(attempt)
            run.ended(state, attempt, _of_own_accord(attempt, report.outcome))
            run.settle()

    def _lost(self, attempt: AttemptState) -> None:
        """Nobody knows what has become of it. What still runs is not wanted any more, and what it says is late."""
        if attempt.forwarded:  # else its runner is none that this one knows
            self.go_on_without(attempt)
        if attempt.cancel_at is None:
            attempt.cancel_at, attempt.cancel_grace = self._services.clock.now(), self._services.grace
            self._services.journal.anyway(partial(attempt.executor.cancel, attempt.id, attempt.cancel_grace))

    def go_on_without(self, attempt: AttemptState) -> None:
        """Nobody has said that it stopped. That is late then, where its runner may still say it."""
        if self._services.targets.named(attempt.runner) is attempt.executor:
            self.unconfirmed[attempt.id] = attempt.executor

    def forget(self, executor: Dispatcher) -> bool:
        """It says nothing any more. Whether something was expected of it."""
        silent = [id for id, its in self.unconfirmed.items() if its is executor]
        for id in silent:
            del self.unconfirmed[id]
        return bool(silent)

    def _measured(self, state: TaskState, attempt: AttemptState, started_at: float | None) -> None:
        """Take both ends of an attempt from whoever measured it: `Started` tells the time at which it was said, a little later."""
        if started_at is not None and attempt.started_at is not None:
            if state.started_at == attempt.started_at:
                state.started_at = started_at
                self._services.journal.mark(state)
            attempt.started_at = started_at

    def _late(self, state: TaskState, executor: Dispatcher, report: Report) -> None:
        if not isinstance(report, Finished):
            return
        outcome = report.outcome
        if (
            self.unconfirmed.get(report.id) is executor and outcome.reason != Reason.RUNNER_LOST
        ):  # which says nothing new
            del self.unconfirmed[report.id]
            number = report.id.attempt  # another one may have followed by now
            self._run.event(Kind.LATE_RESULT, state, number, status=outcome.status.value, reason=outcome.reason)
        self._acknowledge(executor, report)

    def _acknowledge(self, executor: Dispatcher, report: Finished) -> None:
        self._services.journal.when_durable(partial(executor.acknowledge, report.id, report.sequence))

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
        self._services.journal.anyway(partial(attempt.executor.cancel, attempt.id, grace))

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
        self.go_on_without(attempt)
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
