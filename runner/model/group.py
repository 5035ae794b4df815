"""A task group as its document describes it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runner.model.task import Forward, Task

DEFAULT_CLEANUP_TIMEOUT_SECONDS = 300.0


class Input(Struct, frozen=True, kw_only=True):
    """A parameter of the group. Without `default` and not `required`, a missing one is the empty text."""

    name: str
    default: str | None = None
    required: bool = False
    confidential: bool = False
    description: str = ""


class Concurrency(Struct, frozen=True, kw_only=True):
    """Of the groups of one caller whose `key` is the same, one at a time has its turn. The key is a text that may name inputs and labels; with
    `cancel_previous` the group ends those that were accepted before it."""

    key: str
    cancel_previous: bool = False


class TaskGroup(Struct, frozen=True, kw_only=True):
    """The unit of submission. `timeout` and `cleanup_timeout` are in seconds; `tasks` are in declaration order. With `forward` another runner carries all of
    it out; what that says may name inputs and the group. `concurrency` counts on the runner that carries it out."""

    name: str = ""
    description: str = ""
    id: str | None = None
    labels: Mapping[str, str] = {}
    inputs: tuple[Input, ...] = ()
    timeout: float | None = None
    fail_fast: bool = False
    cleanup_timeout: float = DEFAULT_CLEANUP_TIMEOUT_SECONDS
    env: Mapping[str, str] = {}
    forward: Forward | None = None
    concurrency: Concurrency | None = None
    tasks: tuple[Task, ...]
