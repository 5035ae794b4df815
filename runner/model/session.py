"""What travels between an origin and one of its executors over their session.

A session is one stream in each direction, and belongs to one connection. It begins with a hello of both, the origin's first, which then begins.
Whatever was under way when a session ended is said again in the next one: dispatches by `Submit`, which attaches to what is known
already, and what an executor has to tell by repeating all that its origin has not recorded. So nothing is kept for a connection.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runner.model.dispatch import AttemptId, Dispatch, GroupDispatch, Report
from runner.model.event import Kind
from runner.model.fault import Fault
from runner.model.load import Load
from runner.model.log import Stream
from runner.model.task import Task

VERSION = 2
"""Of what is said here. Who is greeted with another one ends the session."""

LARGEST_SUBMIT_BYTES = 32 << 20
"""Of one `Submit`, `SubmitGroup` or `Check` on its way: what every executor takes, however small its `limits.message` is. A
larger one would end the session, and each one after it."""

MOST_KEPT = 1000
"""Of groups whose workspaces an executor names in its hello."""

NOTICED = frozenset(
    {
        Kind.KILL_REPORT, Kind.MASK_SKIPPED, Kind.LOG_REDACTED, Kind.LOG_GAP,
        Kind.TASK_EXPORT, Kind.TASK_PAUSED, Kind.TASK_RESUMED,
    }
)  # fmt: skip
"""What an executor may notice of an attempt; the other events of a group are its origin's own."""


def hop(name: str, node: str) -> str:
    """How a runner stands in `Submit.hops`: by its name, for persons, and by its identity, which tells it from others."""
    return f"{name} ({node})"


def is_of(hop: str, node: str) -> bool:
    """Whether it is that of the runner with this identity."""
    return hop == node or hop.endswith(f"({node})")


# From the origin.


class OriginHello(Struct, frozen=True, kw_only=True):
    """`node` is the identity of the origin's state."""

    node: str
    name: str
    version: int = VERSION


class Begin(Struct, frozen=True, kw_only=True):
    """The origin has heard the executor's hello, and the session takes the place of the one before. `live` are the attempts that it has
    handed to this executor and that are not over: any other attempt of this origin that runs there is ended. A session that does not
    come to this changes nothing, and neither does one whose hello was answered before that of one which has begun: so nobody obeys
    what a line that was given up long ago still brings."""

    live: tuple[AttemptId, ...] = ()


class Submit(Struct, frozen=True, kw_only=True):
    """Carry this out, or go on with it. `dispatch.instance` is the executor's, as the origin has written it down: one that has another
    and does not know the attempt does not begin it. What is told of it begins behind the report `after`, and in its log behind
    the position `printed`. `hops` are the runners that it came by, the first
    origin first. `cancel_grace` is set where it has to end, in seconds, and nothing is started then."""

    dispatch: Dispatch
    hops: tuple[str, ...] = ()
    after: int = 0
    printed: int = 0
    cancel_grace: float | None = None


class SubmitGroup(Struct, frozen=True, kw_only=True):
    """As `Submit`, of a whole group. `printed` are the positions in the logs of attempts that are under way."""

    dispatch: GroupDispatch
    hops: tuple[str, ...] = ()
    after: int = 0
    printed: Mapping[AttemptId, int] = {}
    cancel_grace: float | None = None


class Acknowledge(Struct, frozen=True, kw_only=True):
    """Everything up to this report is recorded, safe against loss of power."""

    id: AttemptId
    sequence: int


class Cancel(Struct, frozen=True, kw_only=True):
    """As `Dispatcher.cancel`; `grace` in seconds."""

    id: AttemptId
    grace: float


class Signal(Struct, frozen=True, kw_only=True):
    """As `Dispatcher.signal`."""

    id: AttemptId
    signal: str


class Check(Struct, frozen=True, kw_only=True):
    """What would be said of these tasks if they were handed over? `number` tells the answer from others of the session."""

    number: int
    tasks: tuple[Task, ...]
    on_behalf_of: str = ""


class Release(Struct, frozen=True, kw_only=True):
    """The origin's group is over: what was kept for it goes."""

    group: str


FromOrigin = OriginHello | Begin | Submit | SubmitGroup | Acknowledge | Cancel | Signal | Check | Release


# From the executor.


class ExecutorHello(Struct, frozen=True, kw_only=True):
    """`node` is the identity of the executor's state, `instance` that of the life that this state has led without a break: one that
    was restored from a backup has another. `types` are the task types that it can carry out, `unusable` those that it knows and cannot
    carry out now, and why."""

    node: str
    name: str
    instance: str
    types: frozenset[str] = frozenset()
    labels: Mapping[str, str] = {}
    load: Load
    version: int = VERSION
    unusable: Mapping[str, str] = {}
    kept: tuple[str, ...] = ()
    """Groups of the origin whose workspaces are kept, at most `MOST_KEPT`: it may have been killed before it could tell that they are over."""


class Reported(Struct, frozen=True, kw_only=True):
    """What became of an attempt. Its `Finished` comes behind all that it has printed."""

    report: Report


class Printed(Struct, frozen=True, kw_only=True):
    """A piece of what an attempt has printed, masked. `position` is the place behind it in the executor's log; `missing` is how many
    bytes of its stream stood right before it and are not kept."""

    id: AttemptId
    stream: Stream
    position: int
    data: bytes
    missing: int = 0


class Afresh(Struct, frozen=True, kw_only=True):
    """What the attempt has printed was masked again: forget it, all of it follows anew."""

    id: AttemptId


class Refused(Struct, frozen=True, kw_only=True):
    """The attempt was not begun here, and will not be. `reason` is one of `model.result.Reason`."""

    id: AttemptId
    reason: str
    message: str


class Loaded(Struct, frozen=True, kw_only=True):
    """How much the executor has to do, told when it changes, now and then."""

    load: Load


class Checked(Struct, frozen=True, kw_only=True):
    """What is wrong with the tasks of a `Check`; a path begins with the place of the task among them."""

    number: int
    faults: tuple[Fault, ...] = ()


FromExecutor = Checked | ExecutorHello | Reported | Printed | Afresh | Refused | Loaded
