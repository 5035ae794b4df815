"""What travels between an origin and the executor of one attempt: the dispatch, and the facts that come back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from runner.model import codec
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome
from runner.model.task import Task
from runner.model.value import Bindings, Value

SIGNALS = ("pause", "start", "destroy")
"""What a running attempt can be sent."""
PAUSES = SIGNALS[:2]
"""The signals that say what is to hold from then on: whether an attempt is paused."""
RETRY, CONTINUE = DECISIONS = ("retry", "continue")
"""What follows from a failure for which its group stands still: the task is tried once more, or the failure stands."""


WHOLE = ""
"""In the place of a task's name: the group as a whole, which another runner carries out."""


class AttemptId(NamedTuple):
    """The identity of an attempt within one origin: (group id, task name, attempt from 1). With the task `WHOLE` it is a forwarded
    group's, whose attempt is the first and only one."""

    group: str
    task: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.group}/{self.task}/{self.attempt}"


class Dispatch(Struct, frozen=True, kw_only=True):
    """One attempt, ready to be carried out: the task with its templates unrendered, and all that they may name.

    `instance` is the executor's instance when the origin first wrote the dispatch down. `resumed` is set when the
    origin may have sent it before; `handle` is what the driver gave at its start, if the origin saw that, `started_at` when
    that was (seconds since the epoch). `paused` is whether it is to be paused, as it was asked for last, and `told_paused`
    whether the origin has heard that it was. `grace` is in seconds, between the polite and the final signal of a stop. `traceparent`
    is what the attempt passes on of its trace, empty for nothing; it may be another the next time. `on_behalf_of` is who has submitted
    the group; `hops` are the runners that this came by, the first origin first.
    """

    id: AttemptId
    instance: str
    task: Task
    bindings: Bindings
    workspace: str
    grace: float = 10.0
    resumed: bool = False
    handle: bytes | None = None
    started_at: float | None = None
    paused: bool = False
    told_paused: bool = False
    traceparent: str = ""
    on_behalf_of: str = ""
    hops: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What this dispatch asks for, as hex; equal for every sending of the same attempt, also by another process.
        Confidential values take part by their names alone."""
        bindings = self.bindings
        plain = [
            *self.id,
            codec.encode_task(self.task).decode(),
            {task: _names(values) for task, values in bindings.imports.items()},
            _names(bindings.inputs),
            dict(bindings.env),
            bindings.group_name,
            self.workspace,
        ]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


class GroupDispatch(Struct, frozen=True, kw_only=True):
    """A whole group, to be carried out by another runner. `id` has the task `WHOLE`; `public_id` is what its submitter calls the group. `running` are the
    attempts at its tasks that were under way when the origin heard of it last, `paused` the tasks that are to be paused. The rest is as
    in `Dispatch`."""

    id: AttemptId
    instance: str
    group: TaskGroup
    inputs: Mapping[str, Value]
    public_id: str
    resumed: bool = False
    running: tuple[AttemptId, ...] = ()
    paused: frozenset[str] = frozenset()
    traceparent: str = ""
    on_behalf_of: str = ""
    hops: tuple[str, ...] = ()


def _names(values: Mapping[str, Value]) -> dict[str, str]:
    return {name: repr(value) for name, value in values.items()}


class Started(Struct, frozen=True, kw_only=True):
    """The attempt runs. `at` in seconds since the epoch; `handle` is what the driver needs to find it again."""

    id: AttemptId
    sequence: int
    at: float
    handle: bytes


class Noticed(Struct, frozen=True, kw_only=True):
    """Something to tell the group's watchers, e.g. a `mask_skipped`."""

    id: AttemptId
    sequence: int
    kind: Kind
    fields: Mapping[str, Any] = {}


class Finished(Struct, frozen=True, kw_only=True):
    """The attempt is over; nothing follows."""

    id: AttemptId
    sequence: int
    outcome: Outcome


class Fact(Struct, frozen=True, kw_only=True):
    """An event of a forwarded group, as its executor has numbered it; with a task's end comes how its last attempt ended."""

    event: Event
    outcome: Outcome | None = None


class Told(Struct, frozen=True, kw_only=True):
    """What has happened in a forwarded group, in order; `sequence` is the number of the last of these events. How the group ended is told
    by `Finished`."""

    id: AttemptId
    sequence: int
    facts: tuple[Fact, ...]


Report = Started | Noticed | Finished | Told
"""What an executor says of an attempt: numbered from 1 per attempt, in order, at least once until acknowledged."""
