"""A group that another runner is to carry out as a whole: who that is, what it is told, and what follows when it cannot be counted on.

Nothing of such a group is decided here while it is elsewhere (`is_elsewhere`): what its runner tells becomes of it (`mirror.py`). Where labels
have chosen this runner itself, or nobody is left who could carry it out, the run goes on as that of any group; in the latter case
none of its tasks can begin.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from runner.dispatch.base import Dispatcher
from runner.engine import variables
from runner.engine.abroad import WHOLE_GROUP
from runner.engine.mirror import ImpossibleError, Mirror
from runner.engine.services import CONFIRM_SECONDS
from runner.engine.state import AttemptState
from runner.engine.targets import Refusal, Unreachable
from runner.errors import TemplateError
from runner.model.dispatch import WHOLE, AttemptId, Finished, GroupDispatch, Report, Told
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status, Waiting
from runner.model.task import Forward
from runner.model.value import Bindings

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


class Entrusted:
    def __init__(self, run: GroupRun, forward: Forward) -> None:
        self._run = run
        self._services = run.services
        self._forward = forward
        self._types = frozenset(task.type for task in run.group.tasks if task.forward is None and not task.joins)
        """What its runner has to be able to do itself."""
        self._mirror = Mirror(run)
        self._waits = False
        self.has_waited = False
        """What tasks without an attempt wait for may stand in rows of theirs."""
        self.attempt: AttemptState | None = None
        """The one dispatch of the group; None before somebody was chosen."""
        self.is_elsewhere = True
        """What becomes of its tasks is not decided here."""
        self.refusal: Refusal | None = None
        """Why none of its tasks can begin any more."""

    @property
    def is_here(self) -> bool:
        """It is to be carried out by this runner itself."""
        return not self.is_elsewhere and self.attempt is not None and not self.attempt.status.terminal

    @property
    def is_kept_away(self) -> bool:
        """None of its tasks may begin here."""
        return self.is_elsewhere or self.refusal is not None

    @property
    def is_in_doubt(self) -> bool:
        """Nobody knows what has begun of it, and it is not heard any more."""
        outcome = None if self.attempt is None else self.attempt.outcome
        return outcome is not None and (outcome.reason == Reason.RUNNER_LOST or _is_unconfirmed(outcome))

    # Choosing.

    def proceed(self) -> None:
        """Hand the group to a runner, or wait for one, or let it begin here, or end it; in the last two cases what follows is for
        `settle`."""
        if not self.is_elsewhere or self.attempt is not None:
            return
        if self._run.abortion.reason is not None:
            self._go_on_here(aborted=True)
            return
        if self._services.slots.closed:
            return  # it is for the next engine
        try:
            forward = self._rendered()
        except TemplateError as error:
            self._refuse(Refusal(reason=Reason.BAD_TEMPLATE, message=f"forward.to: {error.message}"))
            return
        chosen = self._services.targets.choose(forward, self._types, self._run.hops)
        if isinstance(chosen, Unreachable):
            self._wait(chosen.why)
        elif isinstance(chosen, Refusal):
            self._refuse(chosen)
        else:
            self._hand_over(chosen)

    def _rendered(self) -> Forward:
        """Raises TemplateError."""
        if self._forward.to is None:
            return self._forward
        run = self._run
        bindings = Bindings(
            inputs=run.inputs, group_id=run.public_id, group_name=run.group.name, task_name="", task_attempt=0
        )
        return Forward(to=variables.runner_named(self._forward.to, bindings))

    def _wait(self, why: str) -> None:
        run, journal = self._run, self._services.journal
        is_news = self._services.abroad.wait(run, WHOLE_GROUP, why)
        if self._waits and not is_news:
            return
        self._waits = self.has_waited = True
        waiting = Waiting.PEER_UNREACHABLE
        if is_news or run.tasks[run.plan.roots[0]].waiting is not waiting:  # else a former engine has told it
            run.event(Kind.GROUP_WAITING, waiting=waiting.value, why=why)
            self._let_roots_wait(waiting)
            journal.wake()

    def _let_roots_wait(self, waiting: Waiting) -> None:
        """For what is seen of the tasks that nothing else of the group holds back."""
        for index in self._run.plan.roots:
            self._run.tasks[index].waiting = waiting
            self._services.journal.mark(self._run.tasks[index])

    def _wait_no_more(self) -> None:
        self._services.abroad.waits_no_more(self._run, WHOLE_GROUP)
        if self._waits:
            self._waits = False
            self._let_roots_wait(Waiting.DEPENDENCY)

    def _refuse(self, refusal: Refusal) -> None:
        self._wait_no_more()
        self.refusal = refusal
        self._go_on_here()

    def _hand_over(self, executor: Dispatcher) -> None:
        """Written down first, with who it is: also where it is this runner itself, so that the group stays where it has begun."""
        run, services = self._run, self._services
        self._wait_no_more()
        forwarded = executor is not services.targets.here
        id = AttemptId(run.id, WHOLE, 1)
        attempt = self.attempt = AttemptState(id, executor, services.clock.now(), forwarded=forwarded)
        services.journal.mark(attempt)
        if not forwarded:
            attempt.status, self.is_elsewhere = Status.RUNNING, False
            run.turn.join()
            self._go_on_here()
            return
        services.abroad.left(run, id, attempt.runner, resumed=False)
        run.attempts.runners.add(attempt.runner)
        run.event(Kind.GROUP_DISPATCHED, runner=attempt.runner)
        # As with an attempt of a task: a machine of its own must not know what this one can forget.
        services.journal.once_durable(partial(services.journal.then, partial(self._send, attempt, resumed=False)))

    def _send(self, attempt: AttemptState, *, resumed: bool) -> None:
        if attempt.status.terminal:
            return
        run, peer = self._run, self._services.targets.peer(attempt.executor)
        if peer is None:
            self._without_peer(attempt)
            return
        attempt.sent = attempt.told = True
        under_way = [run.tasks[index].attempt for index in sorted(run.running)]
        dispatch = GroupDispatch(
            id=attempt.id,
            instance=attempt.instance,
            group=run.group,
            inputs=run.inputs,
            public_id=run.public_id,
            resumed=resumed,
            running=tuple(each.id for each in under_way if each is not None),
            paused=frozenset(each.id.task for each in under_way if each is not None and each.paused),
            traceparent=run.traceparent(attempt.id),
            on_behalf_of=run.submitter,
            hops=run.hops,
        )
        peer.submit_group(dispatch)
        peer.events(attempt.id, attempt.sequence, partial(self._services.sink, attempt.executor))

    # A former engine.

    def restore(self, attempt: AttemptState) -> None:
        """Take up what a former engine has written down of its dispatch."""
        self.attempt, self.has_waited = attempt, True
        outcome = attempt.outcome
        if attempt.status is Status.RUNNING:  # here, whatever this runner was called then
            self.is_elsewhere = False
        elif outcome is not None:
            self.is_elsewhere = False
            self.refusal = _refusal(outcome)
        elif attempt.forwarded:  # else its runner is no peer any more, see `resume`
            self._services.abroad.left(self._run, attempt.id, attempt.runner, resumed=True)

    def resume(self) -> None:
        """Reach for the runner that has it, and go on with a stop that was under way."""
        attempt, journal = self.attempt, self._services.journal
        if attempt is None or not self.is_elsewhere:
            return
        if not attempt.forwarded:
            self._without_peer(attempt)
            return
        journal.once_durable(partial(journal.anyway, partial(self._send, attempt, resumed=True)), written=True)
        if attempt.cancel_at is not None and attempt.cancel_grace is not None:
            # Where its time passed while no engine was there to listen, it is heard first.
            self._arm_force(attempt, earliest=self._services.clock.now().boot + CONFIRM_SECONDS)
            journal.anyway(partial(attempt.executor.cancel, attempt.id, attempt.cancel_grace))

    # Hearing.

    def report(self, executor: Dispatcher, report: Report) -> None:
        """What an executor says of the group. Repetitions, and what comes after the end, are harmless."""
        attempt = self.attempt
        if attempt is None:
            return
        if attempt.status.terminal:
            self._late(executor, report)
        elif executor is attempt.executor and report.sequence > attempt.sequence:
            if isinstance(report, Told):
                self._told(attempt, report)
            elif isinstance(report, Finished):
                attempt.sequence = report.sequence
                self._finished(attempt, report)

    def _told(self, attempt: AttemptState, report: Told) -> None:
        self._services.journal.mark(attempt)
        for fact in report.facts:
            if fact.event.number > attempt.sequence:
                attempt.sequence = fact.event.number
                try:
                    self._mirror.take(fact, attempt)
                except ImpossibleError as error:
                    self._lose(attempt, _impossible(attempt, str(error)))
                    return

    def _finished(self, attempt: AttemptState, report: Finished) -> None:
        executor, outcome = attempt.executor, report.outcome
        self._services.journal.when_durable(partial(executor.acknowledge, report.id, report.sequence))
        if self._run.open == 0:
            self._over(attempt, outcome)
            self._run.finish()
        elif outcome.status is Status.ERRORED and outcome.error is not None:
            # This runner's own word: it was not taken, or its runner is lost.
            if self._run.running or outcome.reason == Reason.RUNNER_LOST:
                self._lose(attempt, outcome)
            else:
                self._give_up(attempt, outcome)
        else:
            # Nothing is heard of it any more.
            what = f"that the group is over, and not what became of {self._run.open:,} of its tasks"
            self._give_up(attempt, _impossible(attempt, what))

    def _late(self, executor: Dispatcher, report: Report) -> None:
        if not isinstance(report, Finished):
            return
        outcome, unconfirmed = report.outcome, self._run.attempts.unconfirmed
        if unconfirmed.get(report.id) is executor and outcome.reason != Reason.RUNNER_LOST:
            del unconfirmed[report.id]
            self._run.event(Kind.LATE_RESULT, status=outcome.status.value, reason=outcome.reason)
        self._services.journal.when_durable(partial(executor.acknowledge, report.id, report.sequence))

    # Stopping.

    def stop(self, grace: float) -> bool:
        """The group is to end: ask its runner for that, and go on without its word once it has had its time. False where nobody
        has the group, so that its tasks are to be ended here."""
        attempt, journal = self.attempt, self._services.journal
        if attempt is None or not self.is_elsewhere:
            if self.is_elsewhere:
                self._wait_no_more()
                self._go_on_here(aborted=True)
            return False
        if not attempt.sent:
            # The store has not taken it since it was chosen: nobody else knows of it.
            self._over(attempt, Outcome(status=Status.ABORTED, finished_at=self._services.clock.now().wall))
            self._go_on_here(aborted=True)
            return False
        if attempt.cancel_grace is None or grace < attempt.cancel_grace:
            attempt.cancel_grace = grace
            attempt.cancel_at = attempt.cancel_at or self._services.clock.now()
            self._arm_force(attempt)
            journal.mark(attempt)
            journal.anyway(partial(attempt.executor.cancel, attempt.id, grace))
        return True

    def _arm_force(self, attempt: AttemptState, *, earliest: float = -math.inf) -> None:
        """It has its clean-up, and each attempt its grace, as they would have here."""
        assert attempt.cancel_at is not None, "it was asked to end"
        run, services = self._run, self._services
        attempt.disarm()
        stop = services.grace + CONFIRM_SECONDS
        due = run.abortion.due(attempt.cancel_at, run.group.cleanup_timeout + stop)
        if run.abortion.closed:
            due = min(due, services.clock.now().boot + stop)
        attempt.force_timer = services.clock.call_at(max(due, earliest), partial(self._force, attempt))

    def _force(self, attempt: AttemptState) -> None:
        attempt.force_timer = None
        self._run.attempts.go_on_without(attempt)
        error = f"{attempt.runner} did not confirm that the group stopped; it may still run there"
        self._give_up(attempt, Outcome(status=Status.ABORTED, kill={"confirmed": False}, error=error))
        self._services.journal.wake()

    # Without its runner.

    def _lose(self, attempt: AttemptState, outcome: Outcome) -> None:
        """Nobody knows what has become of it. What still runs there is not wanted any more, and what it says is late."""
        self._run.attempts.go_on_without(attempt)
        if attempt.cancel_at is None:
            attempt.cancel_at, attempt.cancel_grace = self._services.clock.now(), self._services.grace
            self._services.journal.anyway(partial(attempt.executor.cancel, attempt.id, attempt.cancel_grace))
        self._give_up(attempt, outcome)

    def _without_peer(self, attempt: AttemptState) -> None:
        error = f"{attempt.runner}, which the group was given to, is no peer of this runner any more"
        self._give_up(attempt, Outcome(status=Status.ERRORED, reason=Reason.RUNNER_LOST, error=error))

    def _give_up(self, attempt: AttemptState, outcome: Outcome) -> None:
        """What is under way there ends like this, and nothing else of the group can begin."""
        run = self._run
        self._over(attempt, outcome)
        self.refusal = _refusal(outcome)
        for index in sorted(run.running):
            self._mirror.end(run.tasks[index], outcome)
        for state in run.tasks:
            state.retry_at = None  # who waits for that is to be decided at once
        self._go_on_here()
        run.settle()

    def _over(self, attempt: AttemptState, outcome: Outcome) -> None:
        attempt.disarm()
        attempt.status, attempt.outcome = outcome.status, outcome
        if attempt.forwarded:
            self._services.abroad.came_back(attempt.id, attempt.runner)
        self._services.journal.mark(attempt)

    def _go_on_here(self, *, aborted: bool = False) -> None:
        """From here on it is a run like any other."""
        self.is_elsewhere = False
        if aborted:
            self.refusal = Refusal(reason=Reason.RUNNER_LOST, message="the group was ended before it was forwarded")
        self._run.decide_here()


def _impossible(attempt: AttemptState, what: str) -> Outcome:
    error = f"{attempt.runner} tells what cannot be: {what}; what it was given may still run there"
    return Outcome(status=Status.ERRORED, reason=Reason.RUNNER_LOST, error=error)


def _is_unconfirmed(outcome: Outcome) -> bool:
    return outcome.kill is not None and outcome.kill.get("confirmed") is False


def _refusal(outcome: Outcome) -> Refusal:
    """Why nothing can begin any more of a group whose dispatch ended like this."""
    reason = Reason(outcome.reason) if outcome.reason in set(Reason) else Reason.RUNNER_LOST
    return Refusal(reason=reason, message=outcome.error or "")
