"""Groups on their way in."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from runner import collector
from runner.clock import Moment
from runner.engine import lanes, variables
from runner.engine.lanes import Lanes
from runner.engine.services import group_digest, input_context
from runner.engine.state import Plan
from runner.errors import UsageError
from runner.model import codec, trace
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.inputs import bind_inputs
from runner.model.result import Abort
from runner.model.value import Value
from runner.sealing import Sealer
from runner.store.base import GroupRow, TaskRow

NO_VALUES: Mapping[str, Value] = MappingProxyType({})


def new_id() -> str:
    return secrets.token_hex(8)


def hidden_id(caller: str, public_id: str) -> str:
    """One that differs from those of all other callers, and from every id that a caller can choose."""
    return f"{public_id}~{hashlib.sha256(caller.encode()).hexdigest()[:16]}"


class Submission(Struct, frozen=True, kw_only=True):
    """A validated group with its inputs, ready to be accepted. `sealed` is how the inputs are stored of a group of the id
    `sealed_for`. `former_digest` is the one that it would have had before the sealing key was replaced, where that is not over. A
    `guest` is known to the engine by the id that it is sealed for, and comes `on_behalf_of` somebody; it was cancelled so often before it came. The tasks that are `kept` are over
    already: they were those of the group that its caller calls `again`. `concurrency` is its key, rendered. With `pause_on_failure` it stands still
    when a task of it has failed."""

    group: TaskGroup
    inputs: Mapping[str, Value]
    sealed_for: str
    sealed: bytes
    digest: str
    former_digest: str | None = None
    document: bytes
    plan: Plan
    guest: bool = False
    on_behalf_of: str = ""
    cancels: int = 0
    kept: tuple[TaskRow, ...] = ()
    again: str = ""
    concurrency: str = ""
    pause_on_failure: bool = False

    def stored_inputs(self, id: str, sealer: Sealer) -> bytes:
        """How the inputs are stored of a group of this id."""
        return self.sealed if self.sealed_for == id else _sealed(self.group, self.inputs, sealer, id)


def prepare(group: TaskGroup, inputs: Mapping[str, str], sealer: Sealer, id: str) -> Submission:
    """See `Engine.prepared`."""
    with collector.at_rest():
        values = bind_inputs(group, inputs)
        return replace(sealed(group, values, sealer, id), concurrency=variables.concurrency_key(group, values))


def sealed(
    group: TaskGroup, values: Mapping[str, Value], sealer: Sealer, id: str, beside: Mapping[str, Value] = NO_VALUES
) -> Submission:
    """A group with what is stored as its inputs, sealed for this id. What is `beside` takes no part in the digest."""
    with collector.at_rest():
        whole = codec.encode_group(group)
        stored = variables.without_secrets(group)
        former = sealer.former
        return Submission(
            group=group,
            inputs={**values, **beside} if beside else values,
            sealed_for=id,
            sealed=_sealed(group, {**values, **beside}, sealer, id),
            digest=group_digest(whole, values, sealer),
            former_digest=None if former is None else group_digest(whole, values, former),
            document=whole if stored is group else codec.encode_group(stored),
            plan=Plan(group, sealer.seal),
        )


def _sealed(group: TaskGroup, values: Mapping[str, Value], sealer: Sealer, id: str) -> bytes:
    seal = partial(sealer.seal, context=input_context(id))
    return codec.encode_values({**values, **variables.secrets(group)}, seal)


def first_row(  # noqa: PLR0913 - what is known of the group, each named
    submission: Submission,
    sealer: Sealer,
    standing: Lanes,
    *,
    id: str,
    public_id: str,
    caller: str,
    now: Moment,
    workspace: str,
    traceparent: str,
) -> GroupRow:
    """How a group is recorded when it is accepted. Raises UsageError."""
    group = submission.group
    if submission.pause_on_failure and group.forward is not None:
        raise UsageError(
            "a group that another runner carries out as a whole does not pause on failure: leave that away, or forward its tasks one by one"
        )
    row = GroupRow(
        id=id,
        public_id=public_id,
        caller=caller,
        name=group.name,
        digest=submission.digest,
        task_count=len(group.tasks),
        document=submission.document,
        inputs=submission.stored_inputs(id, sealer),
        labels=group.labels,
        workspace=workspace,
        accepted=now,
        traceparent=trace.checked(traceparent),
        concurrency=submission.concurrency,
        pause_on_failure=submission.pause_on_failure,
    )
    if submission.cancels:
        row = replace(row, abort=Abort.CANCELLED.value, abort_at=now, abort_count=submission.cancels)
    if submission.concurrency and group.forward is None:
        lane = (caller, submission.on_behalf_of if submission.guest else caller, submission.concurrency)
        replaces = group.concurrency is not None and group.concurrency.cancel_previous
        ahead = standing.ahead(lane, replaces=replaces)
        if ahead is not None:
            row = replace(row, waits_for=ahead, rests_since=now)
    return row


def first_events(row: GroupRow, submission: Submission) -> list[Event]:
    """What is told of a group when it is accepted: that, what it waits for, and that it had been cancelled before."""
    accepted: dict[str, Any] = {"name": row.name, "caller": row.caller}
    if submission.again:
        accepted |= {"again": submission.again, "kept": len(submission.kept)}
    told: list[tuple[Kind, dict[str, Any]]] = [(Kind.GROUP_ACCEPTED, accepted)]
    if row.waits_for is not None:
        told.append((Kind.GROUP_WAITING, lanes.waiting(row.waits_for, row.concurrency)))
    told += [(Kind.CANCEL_REQUESTED, {"reason": row.abort, "count": count}) for count in range(1, row.abort_count + 1)]
    return [
        Event(group=row.id, number=number, at=row.accepted.wall, kind=kind, fields=fields)
        for number, (kind, fields) in enumerate(told, start=1)
    ]


class Acceptance(Struct, frozen=True, kw_only=True):
    id: str
    existed: bool = False
    """It was accepted before."""
