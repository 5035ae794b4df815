"""The reference model: what the specification says becomes of a scenario, told as simply as possible.

It looks at everything whenever anything happens and keeps no count of anything: slow, and easy to compare with the text. It
knows nothing of stores, events, crashes or transports, because by the specification none of them changes what becomes of a
group. It shares with the engine only pure parts of the model, and `engine.retry.delay`, whose jitter is chance by design.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from runner.engine import retry
from runner.model.dispatch import RETRY, AttemptId
from runner.model.result import Outcome, Status
from runner.model.task import When
from runner.model.value import Value
from runner.simulator.models import GroupModel, TaskModel
from runner.simulator.pauses import decision
from runner.simulator.rules import Errored, Imports, Joins, Runs, decide, group_status, retried
from runner.simulator.scenario import Scenario, Signal, Submission
from runner.simulator.script import Course
from runner.simulator.store import SYNC_SECONDS
from runner.simulator.turns import Turns

GRACE_SECONDS = 10.0
CONFIRM_SECONDS = 10.0


class Reference:
    """Plays a scenario. Afterwards `groups` holds what became of each, `dispatched` when which attempt was given a slot,
    `imports` what each attempt was given."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._turns = Turns()
        self._now = 0.0
        self.groups: dict[str, GroupModel] = {}
        self.dispatched: dict[AttemptId, float] = {}
        self.imports: dict[AttemptId, Imports] = {}

    def play(self) -> Reference:
        while (instant := min(self._instants(), default=math.inf)) < math.inf:
            self._now = instant
            self._happen()
            self._settle()
        return self

    # What is going to happen, and when.

    def _instants(self) -> Iterator[float]:
        for submission in self._scenario.submissions:
            group = self.groups.get(submission.id)
            if group is None:
                yield submission.at
                continue
            if group.status.terminal:
                continue
            yield from map(_at, group.calls)
            if not group.timed_out:
                yield group.due
            if group.abort is not None and not group.cleanup_over:
                yield group.abort_at + submission.group.cleanup_timeout
            for task in group.tasks.values():
                yield task.retry_at
                yield task.decide_at
                if task.course is not None:
                    yield task.course.start_at()
                    yield task.course.end()[0]
                    yield _forced_at(task.course)

    def _happen(self) -> None:
        now = self._now
        for submission in self._scenario.submissions:
            if submission.id not in self.groups:
                if submission.at <= now:
                    self._submit(submission)
                continue
            group = self.groups[submission.id]
            while group.calls and _at(group.calls[0]) <= now:
                call = group.calls.pop(0)
                if isinstance(call, Signal):
                    self._signal(group.tasks[call.task], call.signal)
                elif not group.status.terminal:
                    self._cancel(group)
            if group.due <= now and not group.timed_out:
                group.timed_out = True
                self._abort(group, "group_timeout")
            if group.abort_at + submission.group.cleanup_timeout <= now and not group.cleanup_over:
                self._end_cleanup(group, GRACE_SECONDS)
            for task in group.tasks.values():
                if task.retry_at <= now:
                    task.retry_at, task.ready = math.inf, True
                elif task.decide_at <= now:
                    self._decided(group, task)
                elif task.course is not None:
                    self._go_on(group, task, task.course)

    def _submit(self, submission: Submission) -> None:
        inputs = {
            item.name: Value(submission.inputs.get(item.name, item.default or ""), item.confidential)
            for item in submission.group.inputs
        }
        tasks = {task.name: TaskModel(task) for task in submission.group.tasks}
        calls: list[float | Signal] = sorted([*submission.cancels, *submission.signals], key=_at)
        for former in self._before(submission) if submission.replaces else ():
            self._abort(former, "replaced")
            if former.abort == "replaced" and former.replaced_by is None:
                former.replaced_by = submission.id
        self.groups[submission.id] = GroupModel(submission, tasks, inputs, calls=calls)

    def _before(self, submission: Submission) -> list[GroupModel]:
        """Those with its key that were accepted before it and are not over."""
        found = []
        for group in self.groups.values():
            if group.submission.id == submission.id:
                break
            if submission.lane is not None and group.submission.lane == submission.lane and not group.status.terminal:
                found.append(group)
        return found

    # Running attempts.

    def _go_on(self, group: GroupModel, task: TaskModel, course: Course) -> None:
        end_at, outcome = course.end()
        if course.start_at() <= self._now:
            course.start(self._now)
            if task.end.started_at is None:
                task.end.started_at = self._now
        elif end_at <= self._now:
            self._attempt_ended(group, task, outcome, stopped=course.stopped_at is not None)
        elif _forced_at(course) <= self._now:
            forced = Outcome(status=Status.ABORTED, kill={"confirmed": False})
            self._attempt_ended(group, task, forced, stopped=True)

    def _attempt_ended(self, group: GroupModel, task: TaskModel, outcome: Outcome, *, stopped: bool) -> None:
        task.course = None
        task.end.outcome = outcome
        ended_by = self._ended_by(group, task)
        if not stopped and ended_by is None and retried(task.task, task.end.attempts, outcome):
            id = AttemptId(group.submission.id, task.task.name, task.end.attempts)
            task.end.status = Status.PENDING
            task.retry_at = self._now + retry.delay(task.task.retry, id)
        elif outcome.status is Status.ABORTED:
            self._aborted(group, task, outcome.outputs)
        elif not stopped and ended_by is None and self._is_held(group, task, outcome):
            seconds, _ = decision(group.submission, AttemptId(group.submission.id, task.task.name, task.end.attempts))
            task.end.status, task.chosen = Status.PENDING, False
            task.held_at, task.decide_at = self._now, self._now + seconds
            group.rests_since = self._now if group.rests_since is None else group.rests_since
        else:
            because_of = ended_by if outcome.status is not Status.SUCCESS else None
            self._end(group, task, outcome.status, outcome.reason, because_of, outcome.outputs)

    @staticmethod
    def _is_held(group: GroupModel, task: TaskModel, outcome: Outcome) -> bool:
        """Whether somebody has to say what follows from this end."""
        failed = outcome.status in (Status.FAILED, Status.ERRORED) and not task.task.allow_failure
        return failed and group.submission.pauses and group.abort is None

    def _decided(self, group: GroupModel, task: TaskModel) -> None:
        """Somebody says what follows from its failure."""
        _, said = decision(group.submission, AttemptId(group.submission.id, task.task.name, task.end.attempts))
        if said == RETRY:
            task.held_at, task.decide_at = None, math.inf
            task.ready = task.chosen = True
            if task.forwarded:  # which is not decided anew, and waits for no slot
                self._begin(group, task)
        else:
            self._stands(group, task)
        if not group.paused and group.rests_since is not None:
            group.rested += self._now - group.rests_since
            group.rests_since = None

    def _stands(self, group: GroupModel, task: TaskModel) -> None:
        """Its failure does."""
        outcome, at = task.end.outcome, task.held_at
        assert outcome is not None
        assert at is not None
        task.held_at, task.decide_at = None, math.inf
        self._end(group, task, outcome.status, outcome.reason, outputs=outcome.outputs)
        task.end.at = at

    def _aborted(self, group: GroupModel, task: TaskModel, outputs: Mapping[str, Value]) -> None:
        """The reason is the group's; of clean-up that was not ended by a caller it is that its time was over. If that does not end it, it is
        that of its matrix."""
        ended_by = self._ended_by(group, task)
        if ended_by is not None and not self._is_closed(group, task):
            self._end(group, task, Status.ABORTED, "fail_fast", ended_by, outputs)
            return
        out_of_time = task.task.when is When.ALWAYS and group.cancels < 2
        reason = "cleanup_timeout" if out_of_time else group.abort
        self._end(group, task, Status.ABORTED, reason, group.abort_because_of, outputs)

    def _end(
        self,
        group: GroupModel,
        task: TaskModel,
        status: Status,
        reason: str | None,
        because_of: str | None = None,
        outputs: Mapping[str, Value] | None = None,
    ) -> None:
        task.ready, task.retry_at = False, math.inf
        task.end = replace(
            task.end, status=status, reason=reason, because_of=because_of, outputs=outputs or {}, at=self._now
        )
        trouble = status in (Status.FAILED, Status.ERRORED) and not task.task.allow_failure
        cell = task.task.matrix
        ends_matrix = trouble and cell is not None and cell.fail_fast and cell.of not in group.failed_matrices
        # Noted first: by an abort the failures of others that were held stand as well.
        if cell is not None and ends_matrix:
            group.failed_matrices[cell.of] = task.task.name
        if trouble and group.submission.group.fail_fast and group.abort is None:
            self._abort(group, "fail_fast", task.task.name)
        if ends_matrix:
            for other in self._instances(group, task):
                self._stop(group, other, GRACE_SECONDS)

    def _signal(self, task: TaskModel, signal: str) -> None:
        """It reaches an attempt that runs or is to start, and nobody else."""
        if task.course is not None:
            task.course.signal(signal, self._now)

    # The early end.

    def _cancel(self, group: GroupModel) -> None:
        group.cancels += 1
        self._abort(group, "cancelled")
        if group.cancels == 2:
            self._end_cleanup(group, 0.0)

    def _abort(self, group: GroupModel, reason: str, because_of: str | None = None) -> None:
        if group.abort == "fail_fast":
            group.abort, group.abort_because_of = reason, None
        if group.abort is not None:
            return
        group.abort, group.abort_because_of, group.abort_at = reason, because_of, self._now
        for task in group.tasks.values():
            if task.held_at is not None:
                self._stands(group, task)
        for task in group.tasks.values():
            if task.task.when is not When.ALWAYS or group.turn_at == math.inf:
                self._stop(group, task, GRACE_SECONDS)

    def _end_cleanup(self, group: GroupModel, grace: float) -> None:
        group.cleanup_over = True
        for task in group.tasks.values():
            self._stop(group, task, grace)

    def _stop(self, group: GroupModel, task: TaskModel, grace: float) -> None:
        if task.terminal:
            return
        if task.course is not None and task.course.submitted_at > self._now:
            # Nobody else knows it yet.
            del self.dispatched[AttemptId(group.submission.id, task.task.name, task.end.attempts)]
            self._attempt_ended(group, task, Outcome(status=Status.ABORTED), stopped=True)
        elif task.course is not None:
            task.course.stop(self._now, grace)
        elif task.held_at is not None:
            self._stands(group, task)
        elif task.end.attempts:
            self._aborted(group, task, {})
        elif self._is_closed(group, task):
            self._end(group, task, Status.SKIPPED, "group_aborted", group.abort_because_of)
        else:
            self._end(group, task, Status.SKIPPED, "fail_fast", self._ended_by(group, task))

    @staticmethod
    def _is_closed(group: GroupModel, task: TaskModel) -> bool:
        """Whether the abort of the group ends it."""
        is_clean_up = task.task.when is When.ALWAYS and group.turn_at < math.inf and not group.cleanup_over
        return group.abort is not None and not is_clean_up

    @staticmethod
    def _ended_by(group: GroupModel, task: TaskModel) -> str | None:
        """Which instance of its matrix ends it."""
        return None if task.task.matrix is None else group.failed_matrices.get(task.task.matrix.of)

    @staticmethod
    def _instances(group: GroupModel, task: TaskModel) -> list[TaskModel]:
        """Those of its matrix, itself too."""
        cell = task.task.matrix
        others = (other for other in group.tasks.values() if other.task.matrix is not None)
        return [other for other in others if cell is not None and other.task.matrix and other.task.matrix.of == cell.of]

    def _has_place(self, group: GroupModel, task: TaskModel) -> bool:
        """Whether fewer instances of its matrix than may are under way, from being decided to their end."""
        cell = task.task.matrix
        if cell is None or cell.max_parallel is None:
            return True
        under_way = [it for it in self._instances(group, task) if not it.terminal and (it.ready or it.end.attempts)]
        return len(under_way) < cell.max_parallel

    # What follows from it.

    def _settle(self) -> None:
        for group in self.groups.values():
            if group.turn_at == math.inf and group.abort is None and not self._before(group.submission):
                group.turn_at = self._now
            while group.turn_at < math.inf and not group.paused and self._decide_one(group):
                pass
            if not group.status.terminal and all(task.terminal for task in group.tasks.values()):
                self._finish(group)
        self._give_slots()

    def _decide_one(self, group: GroupModel) -> bool:
        """Decide the first task in declaration order that can be; False when there is none."""
        tasks = {name: model.task for name, model in group.tasks.items()}
        for model in group.tasks.values():
            undecided = not model.terminal and not model.ready and model.end.attempts == 0
            if undecided and all(group.tasks[name].terminal for name in model.task.edges):
                ends = {name: other.end for name, other in group.tasks.items()}
                verdict = decide(model.task, tasks, ends, group.inputs)
                begins = isinstance(verdict, Runs) or (isinstance(verdict, Errored) and verdict.asked_last)
                if begins and not self._has_place(group, model):
                    continue
                if isinstance(verdict, Runs):
                    model.ready, model.imports = True, verdict.imports
                    if model.forwarded:
                        self._begin(group, model)
                elif isinstance(verdict, Joins):
                    self._end(group, model, Status.SUCCESS, None, outputs=verdict.outputs)
                elif isinstance(verdict, Errored):
                    self._end(group, model, Status.ERRORED, verdict.reason)
                else:
                    self._end(group, model, Status.SKIPPED, verdict.reason, verdict.because_of)
                return True
        return False

    def _give_slots(self) -> None:
        """To the callers in turn, of each to its groups in turn, in a group in declaration order. Who is forwarded needs none."""
        for whole in self.groups.values():
            for model in whole.tasks.values():
                if model.forwarded and whole.may_begin(model):
                    self._begin(whole, model)
        self._turns.look(self._waiting())
        while self._taken() < self._scenario.max_parallel and (next_one := self._turns.next()) is not None:
            group = self.groups[next_one]
            self._begin(group, next(filter(group.may_begin, group.tasks.values())))
            self._turns.look(self._waiting())

    def _waiting(self) -> dict[str, list[str]]:
        """The groups of each caller in which a task waits for a slot."""
        waiting: dict[str, list[str]] = {}
        for id, group in self.groups.items():
            if any(map(group.may_begin, group.tasks.values())):
                waiting.setdefault(group.submission.caller, []).append(id)
        return waiting

    def _taken(self) -> int:
        tasks = (task for group in self.groups.values() for task in group.tasks.values())
        return sum(task.course is not None and not task.forwarded for task in tasks)

    def _begin(self, group: GroupModel, task: TaskModel) -> None:
        task.ready = False
        task.end.attempts += 1
        task.end.status = Status.RUNNING
        attempt = AttemptId(group.submission.id, task.task.name, task.end.attempts)
        script = self._scenario.script(attempt)
        # What goes to another machine is made safe before.
        sent = self._now + (SYNC_SECONDS if task.forwarded else 0.0)
        task.course = Course(script=script, timeout=task.task.timeout, submitted_at=sent)
        self.dispatched[attempt] = self._now
        group.started_at = min(group.started_at, self._now)
        self.imports[attempt] = task.imports

    def _finish(self, group: GroupModel) -> None:
        group.finished_at = self._now
        group.started_at = min(group.started_at, self._now)
        ends = [(task.task, task.end) for task in group.tasks.values()]
        group.status, group.reason = group_status(group.abort, ends)


def _at(call: float | Signal) -> float:
    return call.at if isinstance(call, Signal) else call


def _forced_at(course: Course) -> float:
    return math.inf if course.stopped_at is None else course.stopped_at + GRACE_SECONDS + CONFIRM_SECONDS
