"""A document becomes a TaskGroup, or every fault with its place. This happens once, at the edge, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from drivers.registry import Registry
from runner import collector
from runner.errors import DocumentError
from runner.model import document, parse
from runner.model.fault import Fault, Faults
from runner.model.group import TaskGroup
from runner.model.limits import Limits
from runner.validation import matrices
from runner.validation.scope import Scopes
from runner.validation.spec import Specs

MAX_DOCUMENT_BYTES = Limits().document_bytes


class Loaded(Struct, frozen=True, kw_only=True):
    """A valid group, and what is worth a look in its document. In `written` a task with a matrix is one, and the tasks are those of the
    document, in its order."""

    group: TaskGroup
    written: TaskGroup
    warnings: tuple[Fault, ...] = ()


Judge = Callable[[TaskGroup, str], Iterable[Fault]]
"""What else is to be said of a valid group; the second argument is how its document calls the list of tasks."""


@collector.at_rest()
def load(
    data: bytes, *, source: str, registry: Registry, limits: Limits | None = None, judge: Judge | None = None
) -> Loaded:
    """Read and validate a document in YAML or JSON; `source` is what messages call it. May be called from any thread.

    Raises DocumentError with all faults and warnings, in the order of their places.
    """
    limits = limits or Limits()
    read = document.read(data, source=source, limits=limits)
    try:
        return _judged(read, source, registry, limits, judge)
    finally:
        _disperse(read.data)


def _judged(read: document.Document, source: str, registry: Registry, limits: Limits, judge: Judge | None) -> Loaded:
    faults = Faults(limits.faults)
    for fault in read.faults:
        faults.append(fault)
    if not read.complete and read.data is None:
        raise DocumentError(read.locate(faults.all()) + faults.rest(source))
    specs = Specs(registry)
    parsed = parse.parse(read.data, faults, specs, complete=read.complete, limits=limits)
    if read.complete:
        scopes = Scopes(faults, parsed)
        scopes.check()
        specs.ask_drivers(faults, parsed, scopes)
        if judge is not None and _is_valid(faults):
            for fault in judge(parsed.group, parse.tasks_key(read.data)):
                faults.append(fault)
        if parsed.matrices and _is_valid(faults):
            matrices.check_size(faults, parsed, limits)
    if not len(faults):
        return Loaded(group=matrices.expanded(parsed), written=parsed.group)
    located = read.locate(faults.all()) + faults.rest(source)
    if all(fault.warning for fault in located):
        return Loaded(group=matrices.expanded(parsed), written=parsed.group, warnings=located)
    raise DocumentError(located)


def _is_valid(faults: Faults) -> bool:
    return all(fault.warning for fault in faults.all())


def _disperse(data: Any) -> None:
    """No other thread runs while something large is freed at once, so its parts go first."""
    for part in data.values() if isinstance(data, dict) else ():
        if isinstance(part, list):
            while part:
                del part[-1000:]
