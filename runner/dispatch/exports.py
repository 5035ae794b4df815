"""What leaves an attempt: its declared exports, and nothing else."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from runner.dispatch.reports import Reports
from runner.dispatch.secrets import Secrets
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Export, Task
from runner.model.value import Value

_NAMES_SHOWN = 12


def collected(outcome: Outcome, task: Task, secrets: Secrets, reports: Reports) -> Outcome:
    """`outcome` with the declared exports alone, its error masked.

    An export that a successful attempt did not produce is its `default`; without one the attempt is errored. A value is
    confidential if its declaration or the driver says so, or if it contains something that is.
    """
    produced = outcome.outputs
    successful = outcome.status is Status.SUCCESS
    values: dict[str, Value] = {}
    for export in task.exports:
        value = produced.get(export.name)
        if value is not None:
            if export.confidential or value.confidential:
                secrets.add(export.name, value.text)
            values[export.name] = value
        elif successful and export.default is not None:
            values[export.name] = Value(export.default)
    if produced or values:
        problem = _malformed(values)
        if problem is not None:
            outcome = replace(outcome, status=Status.ERRORED, reason=Reason.BAD_OUTPUT, error=problem)
            values = {}
        values = {
            export.name: _exported(export, values, secrets, reports) for export in task.exports if export.name in values
        }
        outcome = replace(outcome, outputs=values)
    missing = [export.name for export in task.exports if export.name not in values] if successful else []
    if missing and outcome.status is Status.SUCCESS:
        others = [name for name in produced if name not in values]
        error = f"the task succeeded without its {_spelt('export', missing)}; it produced {_listed(others, produced)}"
        outcome = replace(outcome, status=Status.ERRORED, reason=Reason.EXPORT_MISSING, error=error)
    if outcome.error is not None:
        outcome = replace(outcome, error=secrets.mask(outcome.error))
    if outcome.reason is not None and not isinstance(outcome.reason, Reason):  # a driver's own word
        outcome = replace(outcome, reason=secrets.mask(outcome.reason))
    return outcome


def _exported(export: Export, values: dict[str, Value], secrets: Secrets, reports: Reports) -> Value:
    value = values[export.name]
    if export.confidential or value.confidential:
        reports.noticed(Kind.TASK_EXPORT, name=export.name, confidential=True)
        return Value(value.text, True)
    if secrets.contains(value.text):
        cause = "it contains a confidential value"
        reports.noticed(Kind.TASK_EXPORT, name=export.name, confidential=True, cause=cause)
        return Value(value.text, True)
    reports.noticed(Kind.TASK_EXPORT, name=export.name, confidential=False)
    return value


def _malformed(values: dict[str, Value]) -> str | None:
    for name, value in values.items():
        if "\0" in value.text:
            return f"the export {name!r} contains a NUL character"
        if not value.text.isascii():
            try:
                value.text.encode()
            except UnicodeEncodeError:
                return f"the export {name!r} cannot be written as UTF-8"
    return None


def _spelt(noun: str, names: list[str]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(repr(name) for name in names)}"


def _listed(names: list[str], produced: Collection[str]) -> str:
    if not names:
        return "nothing but what is declared" if produced else "nothing"
    return (
        "also "
        + ", ".join(repr(name) for name in sorted(names)[:_NAMES_SHOWN])
        + (", …" if len(names) > _NAMES_SHOWN else "")
    )
