"""A task as its document describes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct


class When(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"


class Scope(StrEnum):
    LOCAL = "local"
    GLOBAL = "global"


class Import(Struct, frozen=True, kw_only=True, gc=False):
    task: str
    variable: str


class Export(Struct, frozen=True, kw_only=True, gc=False):
    name: str
    confidential: bool = False
    scope: Scope = Scope.LOCAL
    default: str | None = None


class Retry(Struct, frozen=True, kw_only=True, gc=False):
    """`attempts` is the total. Delays in seconds. `on` holds `failed`, `errored`, reasons, and exit codes as decimal text."""

    attempts: int = 1
    delay: float = 0.0
    backoff: float = 1.0
    max_delay: float = 3600.0
    on: frozenset[str] = frozenset({"failed", "errored"})


NO_RETRY = Retry()


class Forward(Struct, frozen=True, kw_only=True, gc=False):
    """Where a task runs: on the runner that is called `to`, which may be a template, or on any that has all these `labels`. One of
    both is given."""

    to: str | None = None
    labels: Mapping[str, str] = {}


class Cell(Struct, frozen=True, kw_only=True, gc=False):
    """What makes a task one of the instances of a matrix: `of` is what the document calls them together, `values` are what its templates
    read as `.matrix.NAME`. `max_parallel` instances are under way at once at most, and with `fail_fast` the first that fails ends the
    others."""

    of: str
    values: Mapping[str, str] = {}
    max_parallel: int | None = None
    fail_fast: bool = False


JOIN_TYPE = "matrix"
"""How the type of a join is told. No driver carries one out."""


class Task(Struct, frozen=True, kw_only=True, gc=False):
    """One node of the DAG. `spec` is plain data (what JSON can say), canonical for its driver, its templates not rendered.

    `condition` is the document's `if`. `timeout` is in seconds, of one attempt. One that `joins` stands for all the instances of a matrix, on
    which it depends: nothing is run for it, and each of its exports is the list of theirs.
    """

    name: str
    type: str
    spec: Mapping[str, Any] = {}
    description: str = ""
    depends_on: tuple[str, ...] = ()
    imports: tuple[Import, ...] = ()
    exports: tuple[Export, ...] = ()
    timeout: float | None = None
    retry: Retry = NO_RETRY
    when: When = When.SUCCESS
    condition: str | bool | None = None
    allow_failure: bool = False
    template: bool = True
    forward: Forward | None = None
    matrix: Cell | None = None
    joins: bool = False

    @property
    def edges(self) -> tuple[str, ...]:
        """The tasks that must be terminal before this one is decided: ordering and data, each once."""
        return tuple(dict.fromkeys((*self.depends_on, *(item.task for item in self.imports))))
