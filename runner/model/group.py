"""A task group as its document describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.model.task import Task

DEFAULT_CLEANUP_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A parameter of the group. Without `default` and not `required`, a missing one is the empty text."""

    name: str
    default: str | None = None
    required: bool = False
    confidential: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroup:
    """The unit of submission. `timeout` and `cleanup_timeout` are in seconds; `tasks` are in declaration order."""

    name: str = ""
    description: str = ""
    id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    timeout: float | None = None
    fail_fast: bool = False
    cleanup_timeout: float = DEFAULT_CLEANUP_TIMEOUT_SECONDS
    env: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[Task, ...]
