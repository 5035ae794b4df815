"""Groups on their way in."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from runner import collector
from runner.engine import variables
from runner.engine.services import group_digest, input_context
from runner.engine.state import Plan
from runner.model import codec
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
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
    `guest` is known to the engine by the id that it is sealed for; it was cancelled so often before it came. The tasks that are `kept` are over
    already: they were those of the group that its caller calls `again`."""

    group: TaskGroup
    inputs: Mapping[str, Value]
    sealed_for: str
    sealed: bytes
    digest: str
    former_digest: str | None = None
    document: bytes
    plan: Plan
    guest: bool = False
    cancels: int = 0
    kept: tuple[TaskRow, ...] = ()
    again: str = ""

    def stored_inputs(self, id: str, sealer: Sealer) -> bytes:
        """How the inputs are stored of a group of this id."""
        return self.sealed if self.sealed_for == id else _sealed(self.group, self.inputs, sealer, id)


def prepare(group: TaskGroup, inputs: Mapping[str, str], sealer: Sealer, id: str) -> Submission:
    """See `Engine.prepared`."""
    with collector.at_rest():
        return sealed(group, variables.bind_inputs(group, inputs), sealer, id)


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


def first_events(row: GroupRow, submission: Submission) -> list[Event]:
    """What is told of a group when it is accepted: that, and that it had been cancelled before."""
    accepted: dict[str, Any] = {"name": row.name, "caller": row.caller}
    if submission.again:
        accepted |= {"again": submission.again, "kept": len(submission.kept)}
    told: list[tuple[Kind, dict[str, Any]]] = [(Kind.GROUP_ACCEPTED, accepted)]
    told += [(Kind.CANCEL_REQUESTED, {"reason": row.abort, "count": count}) for count in range(1, row.abort_count + 1)]
    return [
        Event(group=row.id, number=number, at=row.accepted.wall, kind=kind, fields=fields)
        for number, (kind, fields) in enumerate(told, start=1)
    ]


class Acceptance(Struct, frozen=True, kw_only=True):
    id: str
    existed: bool = False
    """It was accepted before."""
