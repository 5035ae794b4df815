"""What the runner of a forwarded group tells of it, made the group's own: the same steps, with this runner's numbers.

It is believed as far as it can be true: a step that no run could take raises `ImpossibleError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.engine.outputs import admitted
from runner.engine.state import AttemptState, TaskState
from runner.model.dispatch import AttemptId, Fact
from runner.model.event import Event, Kind
from runner.model.result import Abort, Outcome, Skip, Status, Waiting
from runner.model.session import NOTICED

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun

_PASSED_ON = NOTICED | {Kind.PEER_LOST, Kind.PEER_BACK}
_TRIED_AGAIN = frozenset({Status.FAILED, Status.ERRORED})
_PAUSED: Mapping[Kind, Waiting | None] = {Kind.TASK_PAUSED: Waiting.PAUSED, Kind.TASK_RESUMED: None}


class ImpossibleError(Exception):
    """What was told cannot be."""


class Mirror:
    def __init__(self, run: GroupRun) -> None:
        self._run = run
        self._steps: Mapping[Kind, Callable[[TaskState, Fact, AttemptState], None]] = {
            Kind.TASK_WAITING: self._waits,
            Kind.TASK_READY: self._waits,
            Kind.TASK_DISPATCHED: self._dispatched,
            Kind.TASK_STARTED: self._started,
            Kind.TASK_RETRYING: self._retrying,
            Kind.TASK_FINISHED: self._finished,
            Kind.TASK_SKIPPED: self._skipped,
        }

    def take(self, fact: Fact, carrier: AttemptState) -> None:
        """What is told by the runner of `carrier`, the dispatch of the group. Raises ImpossibleError."""
        event, run = fact.event, self._run
        cause = event.fields.get("because_of")
        if cause is not None and cause not in run.graph.index:
            raise ImpossibleError(f"{event.kind} because of {cause!r}, a task that there is not")
        if event.task is None:
            if event.kind is Kind.CANCEL_REQUESTED:
                self._aborted(event)
            elif event.kind is Kind.GROUP_WAITING and run.status is Status.PENDING and "waits_for" in event.fields:
                run.turn.wait(event.fields["waits_for"])
            elif event.kind is Kind.GROUP_READY:
                run.turn.wait_no_more()
            elif event.kind is Kind.GROUP_STARTED and run.status is Status.PENDING:
                run.begin()
            return  # the rest is known here, or told here by itself
        index = run.graph.index.get(event.task)
        if index is None:
            raise ImpossibleError(f"{event.kind} of {event.task!r}, a task that there is not")
        state = run.tasks[index]
        if event.kind is Kind.LATE_RESULT:
            run.event(event.kind, state, event.attempt, **event.fields)
        elif state.status.terminal:
            raise ImpossibleError(f"{event.kind} of {event.task!r}, which was over")
        elif event.kind in _PASSED_ON:
            if event.kind in _PAUSED:
                if state.status is not Status.RUNNING:
                    raise ImpossibleError(f"{event.kind} of {event.task!r}, which is {state.status}")
                state.waiting = _PAUSED[event.kind]
                run.services.journal.mark(state)
            fields = dict(event.fields)
            if "runner" in fields:  # one that is a peer of that runner, not of this
                fields["runner"] = f"{carrier.runner}/{fields['runner']}"
            run.event(event.kind, state, event.attempt, **fields)
        elif (step := self._steps.get(event.kind)) is not None:
            step(state, fact, carrier)

    def end(self, state: TaskState, outcome: Outcome) -> None:
        """Of a task that ran there when its runner was given up."""
        attempt = state.attempt
        assert attempt is not None, "a running task has an attempt"
        now = self._run.services.clock.now().wall
        self._conclude(state, replace(outcome, started_at=attempt.started_at, finished_at=now))

    def _aborted(self, event: Event) -> None:
        """An abort that did not come from here. Others come back as an echo."""
        abortion = self._run.abortion
        try:
            reason = Abort(event.fields.get("reason", ""))
        except ValueError as error:
            raise ImpossibleError(f"an abort ({error})") from None
        if abortion.reason is None or (abortion.reason is Abort.FAIL_FAST and reason is not Abort.FAIL_FAST):
            by = event.fields.get("replaced_by") if reason is Abort.REPLACED else None
            abortion.adopt(reason, event.fields.get("because_of"), by)

    def _waits(self, state: TaskState, fact: Fact, carrier: AttemptState) -> None:
        del carrier
        if state.status is not Status.PENDING:
            raise ImpossibleError(f"that {state.task.name!r} waits, which is {state.status}")
        fields = fact.event.fields
        had_row = state.waiting in (Waiting.PEER_UNREACHABLE, Waiting.MATRIX)
        try:
            state.waiting = Waiting(fields.get("waiting", ""))
        except ValueError as error:
            raise ImpossibleError(f"that {state.task.name!r} waits ({error})") from None
        state.retry_at = None
        entrusted = self._run.entrusted
        has_row = had_row or state.attempts > 0 or (entrusted is not None and entrusted.has_waited)
        if has_row or fact.event.kind is Kind.TASK_WAITING:
            self._run.services.journal.mark(state)
        self._run.event(fact.event.kind, state, **fields)

    def _dispatched(self, state: TaskState, fact: Fact, carrier: AttemptState) -> None:
        run, number = self._run, fact.event.attempt
        if state.status is not Status.PENDING or number != state.attempts + 1:
            raise ImpossibleError(
                f"that attempt {number} of {state.task.name!r} begins behind attempt {state.attempts}, {state.status}"
            )
        if run.status is Status.PENDING:
            run.begin()
        state.attempts = number
        state.status, state.waiting, state.outcome, state.retry_at = Status.RUNNING, None, None, None
        run.running.add(state.index)
        id = AttemptId(run.id, state.task.name, number)
        attempt = state.attempt = AttemptState(id, carrier.executor, run.services.clock.now(), forwarded=True)
        if further := fact.event.fields.get("runner"):
            attempt.runner = f"{carrier.runner}/{further}"
        attempt.sent = attempt.told = True
        run.services.journal.mark(state)
        run.services.journal.mark(attempt)
        run.event(Kind.TASK_DISPATCHED, state, runner=attempt.runner)

    def _started(self, state: TaskState, fact: Fact, carrier: AttemptState) -> None:
        del carrier
        run, attempt = self._run, state.attempt
        if state.status is not Status.RUNNING or attempt is None or attempt.id.attempt != fact.event.attempt:
            raise ImpossibleError(f"that attempt {fact.event.attempt} of {state.task.name!r} has started")
        if attempt.status is not Status.RUNNING:
            run.event(Kind.TASK_STARTED, state)
        attempt.status, attempt.started_at, attempt.started_event = Status.RUNNING, fact.event.at, run.last_event
        run.services.journal.mark(attempt)
        if state.started_at is None:
            state.started_at = fact.event.at
            run.services.journal.mark(state)

    def _retrying(self, state: TaskState, fact: Fact, carrier: AttemptState) -> None:
        del carrier
        run, attempt, fields = self._run, state.attempt, fact.event.fields
        if state.status is not Status.RUNNING or attempt is None:
            raise ImpossibleError(f"that {state.task.name!r} is tried again, which is {state.status}")
        status = Status(fields["status"])
        if status not in _TRIED_AGAIN:
            raise ImpossibleError(f"that {state.task.name!r} is tried again, which has ended as {status}")
        if state.attempts >= state.task.retry.attempts:
            most = state.task.retry.attempts
            raise ImpossibleError(f"that {state.task.name!r} is tried again behind attempt {state.attempts}, of {most}")
        outcome = Outcome(
            status=status,
            reason=fields.get("reason"),
            exit_code=fields.get("exit_code"),
            signal=fields.get("signal"),
            error=fields.get("error"),
            started_at=attempt.started_at,
            finished_at=fact.event.at,
        )
        self._close(state, attempt, outcome)
        now = run.services.clock.now()
        seconds = float(fields.get("seconds", 0.0))
        state.status, state.waiting, state.outcome = Status.PENDING, Waiting.RETRY_DELAY, outcome
        state.retry_at = replace(now, wall=now.wall + seconds, boot=now.boot + seconds)
        run.services.journal.mark(state)
        run.event(Kind.TASK_RETRYING, state, **fields)

    def _finished(self, state: TaskState, fact: Fact, carrier: AttemptState) -> None:
        del carrier
        outcome, name = fact.outcome, state.task.name
        if outcome is None:
            raise ImpossibleError(f"that {name!r} is over, and not how")
        if state.status is not Status.RUNNING and outcome.status is Status.SUCCESS and not state.task.joins:
            raise ImpossibleError(f"that {name!r} is over with success, which is {state.status}")
        if (number := fact.event.attempt or 0) != state.attempts:
            raise ImpossibleError(f"that attempt {number} of {name!r} is over behind attempt {state.attempts}")
        state.because_of = fact.event.fields.get("because_of")
        self._conclude(state, admitted(self._run, outcome))

    def _skipped(self, state: TaskState, fact: Fact, carrier: AttemptState) -> None:
        del carrier
        if state.status is not Status.PENDING or state.attempts:
            raise ImpossibleError(f"that {state.task.name!r} is skipped, which is {state.status}")
        try:
            reason = Skip(fact.event.fields.get("reason", ""))
        except ValueError as error:
            raise ImpossibleError(f"that {state.task.name!r} is skipped ({error})") from None
        self._run.skip(state, reason, fact.event.fields.get("because_of"))

    def _conclude(self, state: TaskState, outcome: Outcome) -> None:
        if outcome.status is Status.ABORTED and self._run.abortion.reason is not None:
            # Why is this runner's affair: what it was asked for its runner knows as a cancel alone.
            reason = self._run.abortion.reason_for(state.task)
            outcome = replace(outcome, reason=reason or outcome.reason)
            state.because_of = self._run.abortion.because_of
        if state.status is Status.RUNNING:
            assert state.attempt is not None, "a running task has an attempt"
            if state.attempts > 1:  # what is told is when the first one started
                outcome = replace(outcome, started_at=state.attempt.started_at)
            elif outcome.started_at is not None:
                state.started_at = outcome.started_at  # as its runner has measured it
            self._close(state, state.attempt, outcome)
        self._run.conclude(state, outcome)

    def _close(self, state: TaskState, attempt: AttemptState, outcome: Outcome) -> None:
        self._run.running.discard(state.index)
        attempt.status, attempt.outcome = outcome.status, outcome
        attempt.started_at = outcome.started_at if outcome.started_at is not None else attempt.started_at
        self._run.services.journal.mark(attempt)
