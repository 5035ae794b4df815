"""What an origin takes of what another runner reports: no more than an honest one would say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from runner.model.dispatch import Fact, Finished, Noticed, Report, Told
from runner.model.event import Kind
from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Task
from runner.model.value import Value

MOST_NOTICED = 10_000
"""Of one attempt, in one life of the origin: all of it becomes events, which nobody else bounds."""
_STEPS = frozenset({Kind.TASK_DISPATCHED, Kind.TASK_STARTED, Kind.TASK_RETRYING, Kind.TASK_FINISHED, Kind.TASK_SKIPPED})
"""What a task can come to only so often."""
MOST_TOLD_CHARS = 100_000
"""Of a text that is for persons."""
MOST_FAULTS = 1000
"""That one answer to a question may find."""
MOST_FAULT_CHARS = 2000
"""Of what is said of one."""
_REASON = re.compile(r"[\w.:-]{1,100}")
"""What a reason looks like, of a driver of its own too."""


class Claims:
    """What `runner` reports of one attempt at `task`, one after the other."""

    def __init__(self, task: Task, runner: str) -> None:
        self._task = task
        self._runner = runner
        self._noticed = 0

    def taken(self, report: Report) -> Report | None:
        """As it is passed on; None for one notice too many."""
        match report:
            case Finished():
                outcome = _believable(report.outcome, self._task, self._runner)
                if outcome.reason == Reason.RUNNER_LOST:
                    # Whom to give up this runner says by itself: the other one is there, and what it ran is lost to it alone.
                    outcome = replace(outcome, reason=Reason.SUPERVISOR_LOST)
                return replace(report, outcome=outcome)
            case Noticed():
                self._noticed += 1
                return replace(report, fields=_short_fields(report.fields)) if self._noticed <= MOST_NOTICED else None
            case _:
                return report


class GroupClaims:
    """What `runner` tells of a group that was forwarded as a whole."""

    def __init__(self, group: TaskGroup, runner: str) -> None:
        self._tasks = {task.name: task for task in group.tasks}
        self._runner = runner
        self._noticed: Counter[str] = Counter()

    def taken(self, report: Report) -> Report | None:
        match report:
            case Finished():
                # That it ended otherwise than its tasks tell is for this runner to say.
                return replace(report, outcome=replace(_short(report.outcome), outputs={}, error=None))
            case Told():
                facts = tuple(taken for fact in report.facts if (taken := self._fact(fact)) is not None)
                return replace(report, facts=facts)
            case _:
                return None

    def _fact(self, fact: Fact) -> Fact | None:
        event = fact.event
        if event.kind not in _STEPS:
            name = event.task if event.task in self._tasks else ""
            self._noticed[name] += 1
            if self._noticed[name] > MOST_NOTICED:
                return None
        task = self._tasks.get(event.task or "")
        outcome = fact.outcome
        if outcome is not None and task is not None:
            outcome = _believable(outcome, task, self._runner)
        return Fact(event=replace(event, fields=_short_fields(event.fields)), outcome=outcome)


def late(outcome: Outcome) -> Outcome:
    """What is kept of how something has ended that was given up: that, and no more."""
    reason = _reason(outcome.reason)
    return Outcome(
        status=outcome.status,
        reason=None if reason == Reason.RUNNER_LOST else reason,  # it is known now
        finished_at=outcome.finished_at,
    )


def refusal(reason: str) -> Reason:
    """Why another runner does not take something."""
    return Reason(reason) if reason in set(Reason) else Reason.REFUSED


def told(text: str, most: int = MOST_TOLD_CHARS) -> str:
    """What is kept of a text for persons."""
    return text if len(text) <= most else f"{text[:most]}…"


def faults_taken(faults: Sequence[Fault]) -> Sequence[Fault]:
    """What is kept of what another runner finds in a document."""
    return [
        replace(
            fault,
            message=told(fault.message, MOST_FAULT_CHARS),
            hint=None if fault.hint is None else told(fault.hint, MOST_FAULT_CHARS),
        )
        for fault in faults[:MOST_FAULTS]
    ]


def _short_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    short = {name: told(value) if isinstance(value, str) else value for name, value in fields.items()}
    return short if "reason" not in short else {**short, "reason": _reason(short["reason"])}


def _short(outcome: Outcome) -> Outcome:
    return replace(outcome, reason=_reason(outcome.reason), error=told(outcome.error) if outcome.error else None)


def _reason(reason: str | None) -> str | None:
    """It is a word, whoever gives it."""
    return reason if not reason or _REASON.fullmatch(reason) else Reason.DRIVER_ERROR.value


def _believable(outcome: Outcome, task: Task, runner: str) -> Outcome:
    """With the declared exports alone, confidential where they were declared so. What is said to be a success without all of them is
    none."""
    given = outcome.outputs
    outputs = {
        export.name: Value(given[export.name].text, True) if export.confidential else given[export.name]
        for export in task.exports
        if export.name in given
    }
    outcome = replace(_short(outcome), outputs=outputs)
    missing = [repr(export.name) for export in task.exports if export.name not in outputs]
    if missing and outcome.status is Status.SUCCESS:
        error = (
            f"{runner} says that the task succeeded, without its export{'s' * (len(missing) > 1)} {', '.join(missing)}"
        )
        return replace(outcome, status=Status.ERRORED, reason=Reason.EXPORT_MISSING, error=error)
    return outcome
