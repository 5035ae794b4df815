"""An executor that acts by scripts: the twin of `runner.dispatch.local.LocalDispatcher`, for the virtual clock.

Like a supervisor it outlives the engine: after `disconnect` its attempts go on, and what they report is kept for the next
engine. `restart` is its own death: whatever ran is gone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from runner.clock import Clock, Timer
from runner.dispatch.base import Sink
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status
from runner.simulator.script import Course, OnStop, Scripts


class _Subscription:
    def __init__(self, after: int, sink: Sink) -> None:
        self.after = after
        self.sent = after
        self.sink = sink


@dataclass(slots=True)
class _Execution:
    """One attempt, and its reports until they are acknowledged."""

    dispatch: Dispatch
    course: Course
    unheard: bool = False
    """What it reported is gone, and the next engine has to be told again."""
    lost: bool = False
    """It was begun in a former life of the executor, which knows nothing else of it."""
    reports: list[Report] = field(default_factory=list)
    sequence: int = 0
    told: int = 0
    """How many of the script's notices were given."""
    started_wall: float | None = None
    ended: Outcome | None = None
    timers: list[Timer] = field(default_factory=list)

    def disarm(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


class ScriptedExecutor:
    """A `Dispatcher` whose attempts do what `scripts` say. Reports come from the clock, never from within a verb.

    With `duplicates` every delivery begins again with the first report that is not acknowledged. With `reports_die` what it
    has to say dies with the engine, as in an executor that lives in the same process: when an attempt is submitted again it
    is found again, and what is new of it is reported under new numbers. What is odd in the calls is kept in `complaints`.
    """

    def __init__(
        self,
        clock: Clock,
        scripts: Scripts,
        *,
        name: str = "local",
        instance: str = "executor-1",
        duplicates: bool = False,
        reports_die: bool = False,
    ) -> None:
        self._clock = clock
        self._scripts = scripts
        self._name = name
        self._instance = instance
        self._duplicates = duplicates
        self._reports_die = reports_die
        self._lost_reason: str = Reason.SUPERVISOR_LOST
        self._executions: dict[AttemptId, _Execution] = {}
        self._subscriptions: dict[AttemptId, _Subscription] = {}
        self._cancelled_first: set[AttemptId] = set()
        self.starts: Counter[tuple[str, AttemptId]] = Counter()
        """How often each attempt was started, by (instance, attempt)."""
        self.dispatches: dict[AttemptId, Dispatch] = {}
        """What was asked for, the first time."""
        self.settled: dict[AttemptId, Outcome] = {}
        """The ends that the engine acknowledged."""
        self.released: list[str] = []
        """The groups that are over, in the order in which the engine said so."""
        self.notices: Counter[AttemptId] = Counter()
        """How much each attempt told besides its start and its end."""
        self.complaints: list[str] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def instance(self) -> str:
        return self._instance

    @property
    def in_flight(self) -> frozenset[AttemptId]:
        """Attempts that were submitted and have not ended."""
        return frozenset(
            id for id, execution in self._executions.items() if execution.ended is None and not execution.lost
        )

    @property
    def unacknowledged(self) -> frozenset[AttemptId]:
        """Attempts that ended and of which the engine has not said that it knows."""
        return frozenset(id for id, execution in self._executions.items() if execution.ended is not None)

    def disconnect(self) -> None:
        """The engine is gone: nothing is delivered to it any more."""
        self._subscriptions.clear()
        if self._reports_die:
            self._cancelled_first.clear()
            for execution in self._executions.values():
                execution.unheard = True

    def restart(self, instance: str, reason: str = Reason.SUPERVISOR_LOST) -> None:
        """The executor itself dies with all that it runs, and comes back as `instance`. Unfinished attempts of former
        instances are reported `errored` with `reason` when they are submitted again."""
        for execution in self._executions.values():
            execution.disarm()
        self._executions.clear()
        self._subscriptions.clear()
        self._cancelled_first.clear()
        self.dispatches.clear()
        self._instance = instance
        self._lost_reason = reason

    def submit(self, dispatch: Dispatch) -> None:
        id = dispatch.id
        known = self.dispatches.setdefault(id, dispatch)
        if known is not dispatch and known.digest != dispatch.digest:
            self.complaints.append(f"{id} was submitted again with different content")
        if id in self._executions:
            self._executions[id].dispatch = dispatch
            if not self._reports_die:  # else that is done where it is heard of again
                self.signal(id, "pause" if dispatch.paused else "start")
            return
        lost = dispatch.instance != self._instance
        now = self._clock.now().boot
        course = Course(
            script=self._scripts(id), timeout=dispatch.task.timeout, submitted_at=now, to_be_paused=dispatch.paused
        )
        execution = self._executions[id] = _Execution(dispatch, course, lost=lost)
        if lost:
            self._report_lost(execution)
            return
        if id in self._cancelled_first:
            course.stop(now, 0.0)
        self._rearm(execution)

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        self._subscriptions[id] = _Subscription(after, sink)
        execution = self._executions.get(id)
        if execution is not None and execution.lost:
            self._report_lost(execution)
        elif execution is not None and execution.unheard:
            self._report_again(execution, after)
        self._deliver_soon(id)

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        execution = self._executions.get(id)
        if execution is None:
            return
        execution.reports = [report for report in execution.reports if report.sequence > sequence]
        if execution.ended is not None and not execution.reports:
            self.settled[id] = execution.ended
            self._forget(id)

    def cancel(self, id: AttemptId, grace: float) -> None:
        execution = self._executions.get(id)
        if execution is None:
            self._cancelled_first.add(id)
            return
        if not execution.lost:
            execution.course.stop(self._clock.now().boot, grace)
            self._rearm(execution)

    def signal(self, id: AttemptId, signal: str) -> None:
        execution = self._executions.get(id)
        if execution is None or execution.ended is not None or execution.lost:
            return
        if execution.course.signal(signal, self._clock.now().boot):
            self._notice(execution, Kind.TASK_PAUSED if signal == "pause" else Kind.TASK_RESUMED)
        self._rearm(execution)

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        for id in self._executions.keys() - set(live):
            self._forget(id)

    def release(self, group: str) -> None:
        self.released.append(group)
        for id, execution in list(self._executions.items()):
            if id.group == group and execution.ended is not None:
                # One that was given up may be heard of at any time.
                if execution.course.script.on_stop is not OnStop.SILENT:
                    self.complaints.append(f"{id} was released, and its end never acknowledged")
                self._forget(id)
        self._cancelled_first = {id for id in self._cancelled_first if id.group != group}

    def _rearm(self, execution: _Execution) -> None:
        """Something happened to it: see anew when it starts or ends."""
        if execution.ended is not None:
            return
        execution.disarm()
        course = execution.course
        end_at, outcome = course.end()
        steps: list[tuple[float, Callable[[], None]]] = [
            (course.start_at(), partial(self._start, execution)),
            (end_at, partial(self._finish, execution, outcome)),
        ]
        if course.started_at is not None and course.stopped_at is None and course.paused_at is None:
            begin = course.started_at + course.paused_for
            told = execution.told
            steps += [(begin + n.after, partial(self._tell, execution)) for n in course.script.notices[told : told + 1]]
        execution.timers += [self._clock.call_at(at, step) for at, step in steps if at < math.inf]

    def _start(self, execution: _Execution) -> None:
        id, now = execution.dispatch.id, self._clock.now()
        self.starts[self._instance, id] += 1
        paused = execution.course.start(now.boot)
        execution.started_wall = now.wall
        self._report_started(execution, now.wall)
        if paused:
            self._notice(execution, Kind.TASK_PAUSED)
        self._rearm(execution)

    def _tell(self, execution: _Execution) -> None:
        self._notice(execution, execution.course.script.notices[execution.told].kind)
        execution.told += 1
        self._rearm(execution)

    def _notice(self, execution: _Execution, kind: Kind) -> None:
        self.notices[execution.dispatch.id] += 1
        execution.sequence += 1
        fields = {"name": f"notice-{execution.sequence}"}
        self._report(
            execution, Noticed(id=execution.dispatch.id, sequence=execution.sequence, kind=kind, fields=fields)
        )

    def _finish(self, execution: _Execution, outcome: Outcome) -> None:
        execution.disarm()
        wall = self._clock.now().wall
        execution.ended = replace(outcome, started_at=execution.started_wall, finished_at=wall)
        self._report_finished(execution, execution.ended)

    def _report_started(self, execution: _Execution, wall: float) -> None:
        id = execution.dispatch.id
        execution.sequence += 1
        self._report(execution, Started(id=id, sequence=execution.sequence, at=wall, handle=str(id).encode()))

    def _report_finished(self, execution: _Execution, outcome: Outcome) -> None:
        execution.sequence += 1
        self._report(execution, Finished(id=execution.dispatch.id, sequence=execution.sequence, outcome=outcome))

    def _report_again(self, execution: _Execution, after: int) -> None:
        """Everything but the start, where the engine knows its handle; notices are not repeated."""
        execution.unheard = False
        execution.reports.clear()
        execution.sequence = after
        if execution.started_wall is not None and execution.dispatch.handle is None:
            self._report_started(execution, execution.started_wall)
        if execution.ended is not None:
            self._report_finished(execution, execution.ended)
            return
        dispatch, course = execution.dispatch, execution.course
        course.signal("pause" if dispatch.paused else "start", self._clock.now().boot)
        if course.started_at is not None and dispatch.paused is not dispatch.told_paused:
            self._notice(execution, Kind.TASK_PAUSED if dispatch.paused else Kind.TASK_RESUMED)
        self._rearm(execution)

    def _report(self, execution: _Execution, report: Report) -> None:
        execution.reports.append(report)
        self._deliver_soon(report.id)

    def _report_lost(self, execution: _Execution) -> None:
        """Its numbers go on behind those that the engine has seen, and only the engine knows these."""
        subscription = self._subscriptions.get(execution.dispatch.id)
        if subscription is not None and execution.ended is None:
            execution.sequence = subscription.after
            self._finish(
                execution, Outcome(status=Status.ERRORED, reason=self._lost_reason, error="what ran it is gone")
            )

    def _deliver_soon(self, id: AttemptId) -> None:
        subscription = self._subscriptions.get(id)
        if subscription is not None:
            self._clock.call_soon(partial(self._deliver, id, subscription))

    def _deliver(self, id: AttemptId, subscription: _Subscription) -> None:
        execution = self._executions.get(id)
        if execution is None or self._subscriptions.get(id) is not subscription:
            return
        for report in list(execution.reports):
            if report.sequence > (subscription.after if self._duplicates else subscription.sent):
                subscription.sent = max(subscription.sent, report.sequence)
                subscription.sink(report)

    def _forget(self, id: AttemptId) -> None:
        self._executions.pop(id).disarm()
        self._subscriptions.pop(id, None)
