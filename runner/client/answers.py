"""What a node answers, where the model has no value for it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runner.model.fault import Fault
from runner.model.peer import PeerState
from runner.model.tasktype import TaskType
from runner.rpc import convert
from runner.v1 import runner_pb2 as pb


class Submission(Struct, frozen=True, kw_only=True):
    """`existed`: the group was there already, for this submission had been made before."""

    id: str
    existed: bool = False
    warnings: tuple[Fault, ...] = ()


class Rerun(Struct, frozen=True, kw_only=True):
    """The new group: how many of its `tasks` run again, and how many were `kept`."""

    id: str
    existed: bool
    tasks: int
    kept: int


class Validation(Struct, frozen=True, kw_only=True):
    """Everything that is wrong with a document, or worth a look; of a valid one also its name and how many tasks it has."""

    valid: bool
    faults: tuple[Fault, ...]
    name: str = ""
    tasks: int = 0


class Upload(Struct, frozen=True, kw_only=True):
    """Give the `workspace_id` to `submit`. `bytes` of all files together."""

    workspace_id: str
    bytes: int
    entries: int


class Description(Struct, frozen=True, kw_only=True):
    """A node. `capacity` attempts may run at once, `running` do, and `waiting` tasks wait for a slot; `groups` of `max_groups` are
    not over. `started_at` in seconds since the epoch. `draining`: it ends, and accepts nothing. `caller` and `scopes` are who
    one is there, and what one may do. `peers` are the runners that it may forward to."""

    name: str
    node_id: str
    version: str
    labels: Mapping[str, str]
    types: tuple[TaskType, ...]
    capacity: int
    running: int
    waiting: int
    groups: int
    max_groups: int
    started_at: float
    draining: bool
    caller: str
    scopes: tuple[str, ...]
    peers: tuple[PeerState, ...] = ()


def description(message: pb.DescribeRunnerResponse) -> Description:
    return Description(
        name=message.name,
        node_id=message.node_id,
        version=message.version,
        labels=dict(message.labels),
        types=tuple(map(convert.type_from_proto, message.types)),
        capacity=message.capacity,
        running=message.running,
        waiting=message.waiting,
        groups=message.groups,
        max_groups=message.max_groups,
        started_at=convert.seconds(message.started_at),
        draining=message.draining,
        caller=message.caller,
        scopes=tuple(message.scopes),
        peers=tuple(map(convert.peer_from_proto, message.peers)),
    )
