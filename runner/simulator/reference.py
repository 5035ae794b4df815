"""The reference model: what the specification says becomes of a scenario, told as simply as possible.

It looks at everything whenever anything happens and keeps no count of anything: slow, and easy to compare with the text. It
knows nothing of stores, events, crashes or transports, because by the specification none of them changes what becomes of a
group. It shares with the engine only pure parts of the model, and `engine.retry.delay`, whose jitter is chance by design.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from runner.engine import retry
from runner.model.dispatch import AttemptId
from runner.model.result import UNCERTAIN_REASONS, Outcome, Status
from runner.model.task import Task, When
from runner.model.value import Value
from runner.simulator.scenario import Scenario, Submission
from runner.simulator.script import Course

GRACE_SECONDS = 10.0
CONFIRM_SECONDS = 10.0
CONDITION = re.compile(r"\{\{ \.([\w-]+)\.([\w-]+) (==|!=) '([^']*)' \}\}")
BROKEN_CONDITION = "{{ .inputs.nobody_declared_this == 'x' }}"

Imports = dict[str, dict[str, Value]]


class End(Struct):
    """What a task has come to. `status` pending or running: not yet."""

    status: Status = Status.PENDING
    reason: str | None = None
    because_of: str | None = None
    attempts: int = 0
    outcome: Outcome | None = None
    """What its last attempt said of itself."""
    outputs: Mapping[str, Value] = {}
    at: float = 0.0
    started_at: float | None = None
    """When its first attempt started."""


class Skipped(Struct, frozen=True):
    reason: str
    because_of: str | None = None


class Runs(Struct, frozen=True):
    imports: Imports


BROKEN = Skipped("bad_template")
"""Not a skip: its `if` has no answer, so the task is errored."""


def decide(
    task: Task, tasks: Mapping[str, Task], ends: Mapping[str, End], inputs: Mapping[str, Value]
) -> Skipped | Runs:
    """What the edges, the data and the `if` of a task say, once all its edges are terminal. `tasks` in declaration order."""
    edges = [name for name in tasks if name in task.edges]
    if task.when is When.SUCCESS:
        for name in edges:
            end, allowed = ends[name], tasks[name].allow_failure
            if end.status is Status.ABORTED or (end.status in (Status.FAILED, Status.ERRORED) and not allowed):
                return Skipped("dependency_failed", name)
            if end.status is Status.SKIPPED and end.reason not in ("condition_false", "no_failure"):
                return Skipped("dependency_skipped", name)
    if task.when is When.FAILURE:
        ancestors = ancestors_of(task, tasks)
        if not any(ends[name].status in (Status.FAILED, Status.ERRORED) for name in ancestors):
            return Skipped("no_failure")
    imports: Imports = {}
    for item in task.imports:
        value = _value(tasks[item.task], ends[item.task], item.variable)
        if value is None:
            return Skipped("no_data", item.task)
        imports.setdefault(item.task, {})[item.variable] = value
    holds = _condition(task.condition, {**imports, "inputs": dict(inputs)})
    if holds is None:
        return BROKEN
    return Runs(imports) if holds else Skipped("condition_false")


def ancestors_of(task: Task, tasks: Mapping[str, Task]) -> set[str]:
    direct = set(task.edges)
    return direct.union(*(ancestors_of(tasks[name], tasks) for name in direct))


def _value(source: Task, end: End, variable: str) -> Value | None:
    if variable in end.outputs:
        return end.outputs[variable]
    skipped = end.status is Status.SKIPPED and end.reason in ("condition_false", "no_failure")
    forgiven = end.status in (Status.FAILED, Status.ERRORED) and source.allow_failure
    for export in source.exports:
        if export.name == variable and export.default is not None and (skipped or forgiven):
            return Value(export.default, export.confidential)
    return None


def _condition(condition: str | bool | None, names: Imports) -> bool | None:
    """What an `if` of the forms that scenarios use says; None when it has no answer."""
    if condition is None or isinstance(condition, bool):
        return condition is not False
    if condition == BROKEN_CONDITION:
        return None
    match = CONDITION.fullmatch(condition)
    if match is None:
        raise ValueError(f"the reference model does not know conditions such as {condition!r}")
    source, name, operator, text = match.groups()
    return (names[source][name].text == text) == (operator == "==")


def retried(task: Task, attempt: int, outcome: Outcome) -> bool:
    on = task.retry.on
    if attempt >= task.retry.attempts or outcome.status not in (Status.FAILED, Status.ERRORED):
        return False
    if outcome.reason in UNCERTAIN_REASONS:
        return outcome.reason in on
    return outcome.status in on or outcome.reason in on or str(outcome.exit_code) in on


@dataclass(slots=True)
class TaskModel:
    task: Task
    end: End = field(default_factory=End)
    ready: bool = False
    """Decided to run, or to run again, and waiting for a slot."""
    retry_at: float = math.inf
    course: Course | None = None
    """Its running attempt."""
    imports: Imports = field(default_factory=dict)

    @property
    def terminal(self) -> bool:
        return self.end.status.terminal


@dataclass(slots=True)
class GroupModel:
    submission: Submission
    tasks: dict[str, TaskModel]
    inputs: dict[str, Value]
    status: Status = Status.RUNNING
    reason: str | None = None
    started_at: float = math.inf
    """When its first attempt was given a slot, or it ended without."""
    finished_at: float = 0.0
    abort: str | None = None
    abort_because_of: str | None = None
    abort_at: float = math.inf
    cancels: int = 0
    cleanup_over: bool = False
    timed_out: bool = False


class Reference:
    """Plays a scenario. Afterwards `groups` holds what became of each, `dispatched` when which attempt was given a slot,
    `imports` what each attempt was given."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
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
            yield from (at for at in submission.cancels if at > self._now)
            if not group.timed_out and submission.group.timeout is not None:
                yield submission.at + submission.group.timeout
            if group.abort is not None and not group.cleanup_over:
                yield group.abort_at + submission.group.cleanup_timeout
            for task in group.tasks.values():
                yield task.retry_at
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
            for at in submission.cancels:
                if at == now and not group.status.terminal:
                    self._cancel(group)
            timeout = submission.group.timeout
            if timeout is not None and submission.at + timeout <= now and not group.timed_out:
                group.timed_out = True
                self._abort(group, "group_timeout")
            if group.abort_at + submission.group.cleanup_timeout <= now and not group.cleanup_over:
                self._end_cleanup(group, GRACE_SECONDS)
            for task in group.tasks.values():
                if task.retry_at <= now:
                    task.retry_at, task.ready = math.inf, True
                elif task.course is not None:
                    self._go_on(group, task, task.course)

    def _submit(self, submission: Submission) -> None:
        inputs = {
            item.name: Value(submission.inputs.get(item.name, item.default or ""), item.confidential)
            for item in submission.group.inputs
        }
        tasks = {task.name: TaskModel(task) for task in submission.group.tasks}
        self.groups[submission.id] = GroupModel(submission, tasks, inputs)

    # Running attempts.

    def _go_on(self, group: GroupModel, task: TaskModel, course: Course) -> None:
        end_at, outcome = course.end()
        if course.start_at() <= self._now:
            course.started_at = self._now
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
        if not stopped and retried(task.task, task.end.attempts, outcome):
            id = AttemptId(group.submission.id, task.task.name, task.end.attempts)
            task.end.status = Status.PENDING
            task.retry_at = self._now + retry.delay(task.task.retry, id)
        elif outcome.status is Status.ABORTED:
            self._aborted(group, task, outcome.outputs)
        else:
            self._end(group, task, outcome.status, outcome.reason, outputs=outcome.outputs)

    def _aborted(self, group: GroupModel, task: TaskModel, outputs: Mapping[str, Value]) -> None:
        """The reason is the group's; of clean-up that was not ended by a caller it is that its time was over."""
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
        if trouble and group.submission.group.fail_fast and group.abort is None:
            self._abort(group, "fail_fast", task.task.name)

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
            if task.task.when is not When.ALWAYS:
                self._stop(group, task, GRACE_SECONDS)

    def _end_cleanup(self, group: GroupModel, grace: float) -> None:
        group.cleanup_over = True
        for task in group.tasks.values():
            self._stop(group, task, grace)

    def _stop(self, group: GroupModel, task: TaskModel, grace: float) -> None:
        if task.terminal:
            return
        if task.course is not None:
            task.course.stop(self._now, grace)
        elif task.end.attempts:
            self._aborted(group, task, {})
        else:
            self._end(group, task, Status.SKIPPED, "group_aborted", group.abort_because_of)

    # What follows from it.

    def _settle(self) -> None:
        for group in self.groups.values():
            while self._decide_one(group):
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
                if isinstance(verdict, Runs):
                    model.ready, model.imports = True, verdict.imports
                elif verdict is BROKEN:
                    self._end(group, model, Status.ERRORED, "bad_template")
                else:
                    self._end(group, model, Status.SKIPPED, verdict.reason, verdict.because_of)
                return True
        return False

    def _give_slots(self) -> None:
        for id, group in self.groups.items():
            for name, task in group.tasks.items():
                taken = sum(
                    1 for other in self.groups.values() for item in other.tasks.values() if item.course is not None
                )
                if task.ready and taken < self._scenario.max_parallel:
                    task.ready = False
                    task.end.attempts += 1
                    task.end.status = Status.RUNNING
                    attempt = AttemptId(id, name, task.end.attempts)
                    script = self._scenario.script(attempt)
                    task.course = Course(script=script, timeout=task.task.timeout, submitted_at=self._now)
                    self.dispatched[attempt] = self._now
                    group.started_at = min(group.started_at, self._now)
                    self.imports[attempt] = task.imports

    def _finish(self, group: GroupModel) -> None:
        group.finished_at = self._now
        group.started_at = min(group.started_at, self._now)
        ends = [(task.task, task.end) for task in group.tasks.values()]
        group.status, group.reason = group_status(group.abort, ends)


def group_status(abort: str | None, ends: Sequence[tuple[Task, End]]) -> tuple[Status, str | None]:
    """The status and reason of a group whose tasks are all terminal."""
    if abort in ("cancelled", "group_timeout"):
        return Status.ABORTED, abort
    counted = {end.status for task, end in ends if not task.allow_failure}
    if abort is None and Status.ABORTED in counted:
        return Status.ABORTED, None
    for status in (Status.ERRORED, Status.FAILED):
        if status in counted:
            return status, abort
    return Status.SUCCESS, abort


def _forced_at(course: Course) -> float:
    return math.inf if course.stopped_at is None else course.stopped_at + GRACE_SECONDS + CONFIRM_SECONDS
