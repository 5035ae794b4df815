"""Guests: what another runner has forwarded here, an attempt at a task as a group of that one, or a whole group as one.

A guest is recorded, started, recovered, masked and kept as every group is. What tells it from them is stored where they have their
inputs, confidential values sealed like those, under names that no input and no confidential default has. Of an attempt these are its
bindings: `/dispatch` is what of them is not confidential, `/inputs/NAME` and `/imports/TASK/NAME` are values. Of a group `/group` says what
it is called at home, whose it is and how it came here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from runner.engine import admission, variables
from runner.engine.admission import Submission
from runner.engine.services import output_context
from runner.model import codec
from runner.model.dispatch import AttemptId, Dispatch, GroupDispatch
from runner.model.group import TaskGroup
from runner.model.result import Abort, Outcome, Status
from runner.model.session import Submit, SubmitGroup
from runner.model.task import NO_RETRY, Task, When
from runner.model.value import Bindings, Value
from runner.sealing import Sealer
from runner.store.base import TaskRow

ORIGIN, ORIGIN_GROUP, ON_BEHALF_OF = "origin", "origin-group", "on-behalf-of"
"""The labels by which a person sees whose a guest is."""

_PREFIX = "guest+"
"""No caller can give an id that begins so."""
_LONGEST_PART_CHARS = 64
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")
_DISPATCH, _INPUTS, _IMPORTS, _GROUP = "/dispatch", "/inputs/", "/imports/", "/group"


class Origin(Struct, frozen=True, kw_only=True):
    """Whose guests they are: `caller` is who he has proved to be, `node` the identity of his state, `name` what it is called."""

    caller: str
    node: str
    name: str

    def public_id(self, attempt: AttemptId) -> str:
        """What the guest is called among the groups of its caller."""
        return f"{attempt}@{self.node}"

    def attempt(self, public_id: str) -> AttemptId | None:
        """The attempt that the caller's group of this name is; None where it is none of this origin's."""
        attempt, _, node = public_id.rpartition("@")
        if node != self.node or attempt.count("/") < 2:
            return None
        group, task, number = attempt.rsplit("/", 2)
        return AttemptId(group, task, int(number)) if number.isdecimal() else None

    def id(self, attempt: AttemptId) -> str:
        """How the engine knows the guest."""
        digest = hashlib.sha256(f"{self.caller}\0{self.public_id(attempt)}".encode()).hexdigest()
        parts = (_UNUSUAL.sub("_", part)[:_LONGEST_PART_CHARS] for part in (attempt.group, attempt.task))
        return f"{_PREFIX}{'~'.join(parts)}~{attempt.attempt}~{digest[:24]}"


def is_guest(id: str) -> bool:
    """Whether the engine knows a guest by this id."""
    return id.startswith(_PREFIX)


def prepared(origin: Origin, submit: Submit, sealer: Sealer, cancels: int = 0) -> Submission:
    """What `Engine.accept` makes a guest of; may be called from any thread. It is ended without a start where it was cancelled so
    often before it came."""
    dispatch = submit.dispatch
    group = TaskGroup(
        id=origin.public_id(dispatch.id),
        name=dispatch.bindings.group_name or dispatch.id.group,
        tasks=(_alone(dispatch.task),),
    )
    submission = admission.sealed(group, _flat(dispatch), sealer, origin.id(dispatch.id))
    return _guest(submission, origin, dispatch, cancels)


def prepared_group(origin: Origin, submit: SubmitGroup, sealer: Sealer, cancels: int = 0) -> Submission:
    """As `prepared`, of a whole group. Raises UsageError for a concurrency key that is none."""
    dispatch = submit.dispatch
    key = variables.concurrency_key(dispatch.group, dispatch.inputs)
    group = replace(dispatch.group, id=origin.public_id(dispatch.id), forward=None, labels={})
    # How it came here, and on whose behalf, may be told otherwise the next time: see `_guest`.
    told = Lodging(group_id=dispatch.public_id, on_behalf_of=dispatch.on_behalf_of, hops=submit.hops)
    beside = {_GROUP: Value(msgspec.json.encode(told).decode())}
    submission = admission.sealed(group, dispatch.inputs, sealer, origin.id(dispatch.id), beside)
    return replace(_guest(submission, origin, dispatch, cancels), concurrency=key)


class Lodging(Struct, frozen=True, kw_only=True):
    """What a group that was forwarded as a whole is called at home, who has submitted it there, and the runners that it came by."""

    group_id: str
    on_behalf_of: str
    hops: tuple[str, ...]


def lodging(values: Mapping[str, Value]) -> Lodging | None:
    """That of a group with these inputs; None where it was not forwarded as a whole."""
    told = values.get(_GROUP)
    return None if told is None else msgspec.json.decode(told.text, type=Lodging)


def own_inputs(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """Those that the group's templates may name."""
    return {name: value for name, value in values.items() if name != _GROUP} if _GROUP in values else values


def _guest(submission: Submission, origin: Origin, dispatch: Dispatch | GroupDispatch, cancels: int) -> Submission:
    # The labels take no part in the digest: an origin may be called otherwise by the time that it sends this again.
    labels = {ORIGIN: origin.name, ORIGIN_GROUP: dispatch.id.group, ON_BEHALF_OF: dispatch.on_behalf_of}
    labelled = replace(submission.group, labels={name: text for name, text in labels.items() if text})
    on_behalf_of = dispatch.on_behalf_of
    return replace(submission, group=labelled, guest=True, on_behalf_of=on_behalf_of, cancels=cancels)


def bindings(values: Mapping[str, Value]) -> Bindings | None:
    """Those that a guest was given, from its group's inputs; None for any other group."""
    told = values.get(_DISPATCH)
    if told is None:
        return None
    plain = json.loads(told.text)
    del plain["digest"]
    imports: dict[str, dict[str, Value]] = {task: {} for task in plain.pop("imports")}
    inputs: dict[str, Value] = {}
    for name, value in values.items():
        if name.startswith(_INPUTS):
            inputs[name.removeprefix(_INPUTS)] = value
        elif name.startswith(_IMPORTS):
            task, _, variable = name.removeprefix(_IMPORTS).partition("/")
            imports[task][variable] = value
    return Bindings(imports=imports, inputs=inputs, **plain)


def outcome(row: TaskRow, sealer: Sealer) -> Outcome:
    """How an attempt ended, from the row of the one task of its guest, which is over."""
    outputs: Mapping[str, Value] = {}
    if row.outputs:
        outputs = codec.decode_values(
            row.outputs, lambda sealed: sealer.unseal(sealed, output_context(row.group, row.name))
        )
    skipped = row.status is Status.SKIPPED  # it was cancelled before its start
    return Outcome(
        status=Status.ABORTED if skipped else row.status,
        reason=Abort.CANCELLED.value if skipped else row.reason,
        exit_code=row.exit_code,
        signal=row.signal,
        outputs=outputs,
        error=row.error,
        kill=json.loads(row.kill) if row.kill else None,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _alone(task: Task) -> Task:
    """What is the origin's affair is left away: edges, conditions, retries, other instances."""
    return replace(
        task,
        depends_on=(),
        imports=(),
        retry=NO_RETRY,
        when=When.SUCCESS,
        condition=None,
        allow_failure=False,
        forward=None,
        matrix=None if task.matrix is None else replace(task.matrix, max_parallel=None, fail_fast=False),
        joins=False,
    )


def _flat(dispatch: Dispatch) -> dict[str, Value]:
    given = dispatch.bindings
    plain = {
        "env": dict(given.env),
        "group_id": given.group_id,
        "group_name": given.group_name,
        "task_name": given.task_name,
        "task_attempt": given.task_attempt,
        "imports": sorted(given.imports),
        "digest": dispatch.digest,  # with it all of the task takes part in that of the guest
    }
    values = {_DISPATCH: Value(json.dumps(plain, sort_keys=True))}
    values |= {f"{_INPUTS}{name}": value for name, value in given.inputs.items()}
    for task, imported in given.imports.items():
        values |= {f"{_IMPORTS}{task}/{name}": value for name, value in imported.items()}
    return values
