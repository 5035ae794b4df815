"""What an origin takes of what another runner reports: no more than an honest one would say."""

from __future__ import annotations

from msgspec.structs import replace

from runner.model.dispatch import Finished, Noticed, Report
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Task
from runner.model.value import Value

MOST_NOTICED = 10_000
"""Of one attempt, in one life of the origin: all of it becomes events, which nobody else bounds."""
MOST_TOLD_CHARS = 100_000
"""Of a text that is for persons."""


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
                return replace(report, outcome=_believable(report.outcome, self._task, self._runner))
            case Noticed():
                self._noticed += 1
                fields = {
                    name: told(value) if isinstance(value, str) else value for name, value in report.fields.items()
                }
                return replace(report, fields=fields) if self._noticed <= MOST_NOTICED else None
            case _:
                return report


def told(text: str) -> str:
    """What is kept of a text for persons."""
    return text if len(text) <= MOST_TOLD_CHARS else f"{text[:MOST_TOLD_CHARS]}…"


def _believable(outcome: Outcome, task: Task, runner: str) -> Outcome:
    """With the declared exports alone, confidential where they were declared so. What is said to be a success without all of them is
    none."""
    given = outcome.outputs
    outputs = {
        export.name: Value(given[export.name].text, True) if export.confidential else given[export.name]
        for export in task.exports
        if export.name in given
    }
    outcome = replace(outcome, outputs=outputs, error=told(outcome.error) if outcome.error else None)
    missing = [repr(export.name) for export in task.exports if export.name not in outputs]
    if missing and outcome.status is Status.SUCCESS:
        error = (
            f"{runner} says that the task succeeded, without its export{'s' * (len(missing) > 1)} {', '.join(missing)}"
        )
        return replace(outcome, status=Status.ERRORED, reason=Reason.EXPORT_MISSING, error=error)
    return outcome
