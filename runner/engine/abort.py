"""How a group is brought to an early end: cancel, failFast, the group's timeout; and how clean-up gets its time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.clock import Moment, Timer, seconds_between
from runner.model.event import Kind
from runner.model.result import Abort, Outcome, Reason, Skip, Status
from runner.model.task import Task, When
from runner.store.base import GroupRow

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun
    from runner.engine.state import TaskState

CLOSING_CANCELS = 2
"""The cancel that ends clean-up as well."""


class Abortion:
    """The early end of one group. Begun once; its reason may grow worse; closed when clean-up has had its time."""

    def __init__(self, run: GroupRun) -> None:
        self._run = run
        self.reason: Abort | None = None
        self.because_of: str | None = None
        self.at: Moment | None = None
        self.count = 0
        self.replaced_by: str | None = None
        """What the group is called that has taken its place."""
        self.closed = False
        self._next = sys.maxsize
        """The first task that `end_some` has not looked at."""
        self._rests_since: Moment | None = None
        """The timeout stands still."""
        self._rested = 0.0
        """For how long it did, in seconds."""
        self._timeout: Timer | None = None
        self._timers: list[Timer] = []

    def into(self, row: GroupRow) -> GroupRow:
        return replace(
            row,
            abort=self.reason.value if self.reason else None,
            abort_because_of=self.because_of,
            abort_at=self.at,
            abort_count=self.count,
            replaced_by=self.replaced_by,
            rests_since=self._rests_since,
            rested=self._rested,
        )

    def restore(self, row: GroupRow) -> None:
        """Take over what a former engine wrote down."""
        self.reason = Abort(row.abort) if row.abort else None
        self.because_of = row.abort_because_of
        self.at = row.abort_at
        self.count = row.abort_count
        self.replaced_by = row.replaced_by
        self._rests_since, self._rested = row.rests_since, row.rested
        self.closed = self.count >= CLOSING_CANCELS
        if self.reason is not None:
            self._next = 0  # it may have been killed before all had ended

    # Questions of the run.

    def closes(self, task: Task) -> bool:
        """Whether a task that was not started may not be started any more."""
        if self.reason is None:
            return False
        entrusted = self._run.entrusted
        if self._is_in_doubt:
            # It may have begun elsewhere, and was not skipped for the abort then. Here nothing of it can begin.
            return False
        is_kept_away = self._run.turn.is_held or (entrusted is not None and entrusted.is_kept_away)
        return self.closed or is_kept_away or task.when is not When.ALWAYS

    def allows_retry(self, task: Task) -> bool:
        return self.reason is None or not (self._is_in_doubt or self.closes(task))

    @property
    def _is_in_doubt(self) -> bool:
        entrusted = self._run.entrusted
        return entrusted is not None and entrusted.is_in_doubt

    def reason_for(self, task: Task) -> str | None:
        """Why an attempt of this task was stopped."""
        if self.reason is None:
            return None
        if task.when is When.ALWAYS and self.count < CLOSING_CANCELS:
            return Reason.CLEANUP_TIMEOUT.value
        return self.reason.value

    # What brings it about.

    def cancel(self) -> None:
        """A caller wants the group to end; asked again, at once."""
        self.count += 1
        self.begin(Abort.CANCELLED)
        if self.count == CLOSING_CANCELS:
            self._close(grace=0.0)

    def replaced(self, by: str) -> None:
        """A newer group of the same concurrency key, which is called so, takes its place."""
        if self.reason in (None, Abort.FAIL_FAST):
            self.replaced_by = by
            self.begin(Abort.REPLACED)

    def begin(self, reason: Abort, because_of: str | None = None) -> None:
        run = self._run
        if self.reason is not None:
            # What a caller or the clock asked for outweighs a failFast that is under way; nothing else is added.
            if self.reason is Abort.FAIL_FAST and reason is not Abort.FAIL_FAST:
                self.reason, self.because_of = reason, None
            elif reason is not Abort.CANCELLED:
                return
        else:
            self.reason, self.because_of = reason, because_of
            self.at = run.services.clock.now()
            self._arm_cleanup(self.at)
        run.services.journal.mark(run)
        run.services.journal.wake()  # the time for clean-up counts from this moment, also for the next engine
        self._tell(reason, because_of)
        self._stop(run.services.grace)

    def _tell(self, reason: Abort, because_of: str | None) -> None:
        by = self.replaced_by if reason is Abort.REPLACED else None
        count = self.count or None
        self._run.event(Kind.CANCEL_REQUESTED, reason=reason.value, because_of=because_of, count=count, replaced_by=by)

    def adopt(self, reason: Abort, because_of: str | None, replaced_by: str | None) -> None:
        """The runner that carries the group out has begun to end it, by itself: no more than told is to be done for it. No
        caller of this runner has cancelled it, and `count` stays as it is."""
        run = self._run
        self.reason, self.because_of, self.replaced_by = reason, because_of, replaced_by
        self.at = self.at or run.services.clock.now()
        run.services.journal.mark(run)
        run.event(Kind.CANCEL_REQUESTED, reason=reason.value, because_of=because_of, replaced_by=replaced_by)

    def _close(self, grace: float) -> None:
        """Clean-up has had its time."""
        self.closed = True
        self._stop(grace)

    def _stop(self, grace: float) -> None:
        """Whatever may not go on: ask it to end if it runs, and let nothing of it begin any more. What has not begun is ended
        from here on, so much in a turn (`end_some`): that it has to end is what is written down."""
        run = self._run
        if run.entrusted is not None and run.entrusted.stop(grace):
            return
        run.pausing.end()
        for index in sorted(run.running):
            if self.closes(run.tasks[index].task):
                run.attempts.stop(run.tasks[index], grace)
        run.services.slots.keep(run.caller, run.id, () if self.closed else run.plan.always)
        self._next = 0
        run.settle()

    def end_some(self, most: int) -> int:
        """End tasks that have not begun and may not any more, with about the effort `most`; how much it was."""
        tasks, effort = self._run.tasks, 0
        while self._next < len(tasks) and effort < most:
            state = tasks[self._next]
            self._next += 1
            effort += 1
            if state.status is Status.PENDING and self.closes(state.task):
                self.end(state)
                effort += self._run.effort(state)
        return effort

    @property
    def is_ending(self) -> bool:
        """Whether there may be more for `end_some`."""
        return self._next < len(self._run.tasks)

    def end(self, state: TaskState) -> None:
        """Of a task that does not run and may not any more."""
        run = self._run
        if state.attempts == 0:
            run.skip(state, Skip.GROUP_ABORTED, self.because_of)
        else:
            state.because_of = self.because_of
            last = state.outcome or Outcome(status=Status.ABORTED)
            now = run.services.clock.now().wall
            # Outputs belong to an attempt that was final; that of the last one was not, and was not recorded with them.
            reason = self.reason_for(state.task)
            run.conclude(state, replace(last, status=Status.ABORTED, reason=reason, outputs={}, finished_at=now))

    # Deadlines.

    def due(self, since: Moment, seconds: float) -> float:
        """The boot time that lies `seconds` behind `since`, which may belong to another boot."""
        now = self._run.services.clock.now()
        if since.boot_id == now.boot_id:
            return since.boot + seconds
        return now.boot - seconds_between(since, now) + seconds

    def arm(self) -> None:
        """Start the clocks that a new or restored group needs. A deadline that passed while no engine was there strikes at
        once: nothing may be begun behind it."""
        self._arm_timeout()
        since = self.at  # of an abort that was under way; its clean-up has its own time
        # What is elsewhere its runner ends, or is asked to, see `Entrusted.resume`.
        if since is not None and not self._run.is_elsewhere:
            self._arm_cleanup(since, overdue_now=True)

    def _arm_timeout(self) -> None:
        timeout = self._run.group.timeout
        if timeout is not None and self._rests_since is None and self.reason in (None, Abort.FAIL_FAST):
            accepted = self._run.row().accepted
            strike = partial(self.begin, Abort.GROUP_TIMEOUT)
            self._timeout = self._at(accepted, timeout + self._rested, strike, overdue_now=True)

    def rest(self) -> None:
        """The timeout stands still from now on."""
        if self._rests_since is None:
            self._rests_since = self._run.services.clock.now()
            if self._timeout is not None:
                self._timeout.cancel()
            self._run.services.journal.mark(self._run)

    def rest_no_more(self) -> None:
        if self._rests_since is not None:
            self._rested += seconds_between(self._rests_since, self._run.services.clock.now())
            self._rests_since = None
            self._arm_timeout()
            self._run.services.journal.mark(self._run)

    def _arm_cleanup(self, since: Moment, *, overdue_now: bool = False) -> None:
        if not self.closed:
            close = partial(self._close, self._run.services.grace)
            self._at(since, self._run.group.cleanup_timeout, close, overdue_now=overdue_now)

    def _at(
        self, since: Moment, seconds: float, action: Callable[[], None], *, overdue_now: bool = False
    ) -> Timer | None:
        """None where its time has come."""

        def strike() -> None:
            if not self._run.status.terminal:
                action()

        clock = self._run.services.clock
        due = self.due(since, seconds)
        if overdue_now and due <= clock.now().boot:
            strike()
            return None
        timer = clock.call_at(due, strike)
        self._timers.append(timer)
        return timer

    def disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
