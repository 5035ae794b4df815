"""One task of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from runner.model import duration, fields, matrixparse
from runner.model.fault import Faults, Path, quote
from runner.model.fields import Readers
from runner.model.matrix import ROOT, Matrix
from runner.model.result import Reason, Status
from runner.model.scalars import Plain, as_text, read_plain
from runner.model.task import NO_RETRY, Export, Forward, Import, Retry, Scope, Task, When

MOST_ATTEMPTS = 1000
MOST_BACKOFF = 100.0

TYPE_SPELLINGS = {"expression_evalation": "expression_evaluation"}
"""Spellings of task types that documents in the wild have, and the ones that they mean."""

NOT_RETRIED = frozenset({Status.SUCCESS, Status.ABORTED, Status.SKIPPED})

RESERVED_NAMES = fields.RESERVED_NAMES | {ROOT}
"""Of tasks."""

NOT_BUILT = frozenset({"cache", "environment", "environments", "services"})
"""Keys of a task."""


class Given(Struct, frozen=True, kw_only=True):
    """What a spec is checked by: `template` tells whether texts in it may be templates, `forwarded` whether another runner may
    carry the task out."""

    type: str
    template: bool = True
    forwarded: bool = False


class Checks(Protocol):
    """What only drivers know of a task."""

    def check_spec(
        self,
        faults: Faults,
        path: Path,
        task: Given,
        spec: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """`spec` as canonical plain data (what JSON can say). Adds what is wrong with it, and with the type of the `task`, whose
        place is `path`."""


def is_possible(retry: Retry) -> bool:
    """Whether a document could have said this; what has another origin has not been read from one."""
    delays = (retry.delay, retry.max_delay)
    return (
        1 <= retry.attempts <= MOST_ATTEMPTS
        and 1 <= retry.backoff <= MOST_BACKOFF
        and all(0 <= seconds <= duration.LONGEST_SECONDS for seconds in delays)
    )


def read_task(
    faults: Faults, path: Path, value: Any, checks: Checks, *, forwarded: bool = False
) -> tuple[Task, Matrix | None]:
    """A task, and its matrix if it has one. If its name had to be refused it is empty; `forwarded` with its group."""
    given = fields.record(faults, path, fields.mapping(faults, path, value), TASK, NOT_BUILT)
    if isinstance(value, dict):
        fields.require(faults, path, given, name="name", type="type")
    spec, matrix = given.pop("spec", {}), given.pop("matrix", None)
    given.setdefault("name", "")
    if given.setdefault("type", "") and isinstance(value.get("spec", spec), dict):
        known = Given(
            type=given["type"],
            template=given.get("template", True),
            forwarded=forwarded or given.get("forward") is not None,
        )
        spec = checks.check_spec(faults, path, known, spec)
    return Task(spec=spec, **given), matrix


def _name(faults: Faults, path: Path, value: Any) -> str:
    read = fields.name(faults, path, value)
    if read == ROOT:
        hint = f"reserved for tasks are {', '.join(sorted(RESERVED_NAMES))}"
        faults.add(path, f"the name {quote(read)} is reserved", hint=hint)
        return ""
    return read


def _type(faults: Faults, path: Path, value: Any) -> str:
    given = fields.reference(faults, path, value)
    return TYPE_SPELLINGS.get(given, given)


def _depends_on(faults: Faults, path: Path, value: Any) -> tuple[str, ...]:
    if as_text(value) is not None:
        return (fields.reference(faults, path, value),)
    found = [fields.reference(faults, *item) for item in fields.items(faults, path, value, "a list of task names")]
    return tuple(dict.fromkeys(found))


def _imports(faults: Faults, path: Path, value: Any) -> tuple[Import, ...]:
    found = []
    for place, item in fields.items(faults, path, value, "a list such as [{from: build, variable: url}]"):
        given = fields.record(
            faults, place, fields.mapping(faults, place, item, "{from: build, variable: url}"), IMPORT
        )
        if isinstance(item, dict) and fields.require(faults, place, given, task="from", variable="variable"):
            found.append(Import(**given))
    return tuple(dict.fromkeys(found))


def _exports(faults: Faults, path: Path, value: Any) -> tuple[Export, ...]:
    found: dict[str, Export] = {}
    for place, item in fields.items(faults, path, value, "a list such as [{name: url}]"):
        given = fields.record(faults, place, fields.mapping(faults, place, item, "{name: url}"), EXPORT)
        if not isinstance(item, dict) or not fields.require(faults, place, given, name="name") or not given["name"]:
            continue
        export = Export(**given)
        if export.name in found:
            faults.add((*place, "name"), f"{quote(export.name)} is exported twice")
        found[export.name] = export
    return tuple(found.values())


def _retry(faults: Faults, path: Path, value: Any) -> Retry:
    given = fields.record(faults, path, fields.mapping(faults, path, value, "{attempts: 3, delay: 2s}"), RETRY)
    if isinstance(value, dict) and not fields.require(faults, path, given, attempts="attempts"):
        return NO_RETRY
    return Retry(**given)


def _retry_on(faults: Faults, path: Path, value: Any) -> frozenset[str]:
    one = as_text(value) is not None
    causes = [(path, value)] if one else list(fields.items(faults, path, value, "a list such as [failed, errored]"))
    if not causes and isinstance(value, list):
        faults.add(path, "names nothing to retry on", hint="leave it out for failed and errored")
    return frozenset(_retry_cause(faults, *cause) for cause in causes)


def _retry_cause(faults: Faults, path: Path, value: Any) -> str:
    """`failed`, `errored`, a reason, or an exit code as decimal text."""
    cause = fields.word(faults, path, value)
    if isinstance(plain := read_plain(cause), Plain):
        code = plain.resolve()
        if isinstance(code, bool) or not isinstance(code, int) or not 1 <= code <= 255:
            faults.add(path, f"{cause} is no exit code to retry on: expected 1 to 255")
        return str(code)
    if cause in NOT_RETRIED:
        faults.add(path, f"{cause} is never retried", hint="what can be: failed, errored, a reason or an exit code")
    known = [Status.FAILED.value, Status.ERRORED.value, *(reason.value for reason in Reason)]
    if as_text(value) is not None and cause not in known and cause not in NOT_RETRIED:
        # A driver may have reasons of its own.
        message = f"{quote(cause)} is no reason that the runner itself gives"
        faults.add(path, message, hint=faults.nearest(cause, known), warning=True)
    return cause


def _condition(faults: Faults, path: Path, value: Any) -> str | bool:
    condition = as_text(value)
    if condition is None:
        fields.expected(faults, path, "true, false or a template", value)
        return True
    condition = condition.strip()  # a block (`if: |`) ends in a newline
    plain = read_plain(condition)
    truth = plain.resolve() if isinstance(plain, Plain) else None
    return truth if isinstance(truth, bool) else condition


def read_forward(faults: Faults, path: Path, value: Any) -> Forward | None:
    given = fields.record(faults, path, fields.mapping(faults, path, value, "{to: onprem-1}"), FORWARD)
    if not isinstance(value, dict):
        return None
    if not given and not value:
        faults.add(path, "expected `to` or `labels`", hint="such as {to: onprem-1} or {labels: {site: eu}}")
    elif len(given) > 1:
        faults.add(path, "expected `to` or `labels`, not both")
    return Forward(**given)


def _forward_to(faults: Faults, path: Path, value: Any) -> str:
    to = fields.text(faults, path, value)
    if as_text(value) is not None and not to.strip():
        faults.add(path, "expected the name of a runner, found an empty text")
    return to


def _forward_labels(faults: Faults, path: Path, value: Any) -> dict[str, str]:
    labels = fields.labels(faults, path, value)
    if value == {}:
        faults.add(path, "names no label that the runner must have")
    return labels


TASK: Readers = {
    "name": ("name", _name),
    "type": ("type", _type),
    "description": ("description", fields.text),
    "depends_on": ("depends_on", _depends_on),
    "imports": ("imports", _imports),
    "spec": ("spec", fields.mapping),
    "exports": ("exports", _exports),
    "timeout": ("timeout", fields.timeout),
    "retry": ("retry", _retry),
    "when": ("when", fields.choice(When)),
    "if": ("condition", _condition),
    "allow_failure": ("allow_failure", fields.flag),
    "template": ("template", fields.flag),
    "forward": ("forward", read_forward),
    "matrix": ("matrix", matrixparse.read),
}
FORWARD: Readers = {
    "to": ("to", _forward_to),
    "labels": ("labels", _forward_labels),
}
IMPORT: Readers = {
    "from": ("task", fields.reference),
    "variable": ("variable", fields.reference),
    "task_name": ("task", fields.reference),
    "name": ("variable", fields.reference),
}
EXPORT: Readers = {
    "name": ("name", fields.name),
    "confidential": ("confidential", fields.flag),
    "scope": ("scope", fields.choice(Scope)),
    "default": ("default", fields.text),
}
RETRY: Readers = {
    "attempts": ("attempts", fields.whole_number(1, MOST_ATTEMPTS)),
    "delay": ("delay", fields.seconds),
    "backoff": ("backoff", fields.number(1, MOST_BACKOFF)),
    "max_delay": ("max_delay", fields.seconds),
    "on": ("on", _retry_on),
}
