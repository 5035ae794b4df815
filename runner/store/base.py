"""The contract of the state, and its rows.

A store belongs to one process at a time and is used from one thread. Values in rows that are confidential are sealed before
they come here; the store never sees a secret. Texts are encodable as UTF-8, integers fit into 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from runner.clock import Moment
from runner.model.event import Event
from runner.model.result import Status


class GroupRow(Struct, frozen=True, kw_only=True):
    """A group. `public_id` is what its caller calls it: unique among his groups, while `id` is among all.
    `document` is the parsed model as canonical JSON (`model.codec`), `inputs` likewise with confidential ones
    sealed, and with them the confidential defaults that `document` is without; `digest` is over both. `timeout` is counted
    from `accepted`. `abort` is the first cause, `abort_count` how often a caller asked to cancel. `traceparent` is the span for which
    it was submitted, empty for none. `concurrency` is the key that it has, rendered, and `waits_for` what the group is called before which it does
    not begin; `replaced_by` what that is called which has ended it for a key. The timeout `rests_since` then, and has `rested` for so many seconds
    before. With `pause_on_failure` it stands still when a task has failed; `paused_by` is the first one for which it does. Times without a `Moment` are for display: seconds since the epoch.

    `document` and `inputs` may be large: they are written once, by `accept_group`, and left alone afterwards.
    """

    id: str
    public_id: str
    caller: str
    name: str
    digest: str
    task_count: int = 0
    document: bytes
    inputs: bytes
    labels: Mapping[str, str] = {}
    workspace: str = ""
    status: Status = Status.PENDING
    reason: str | None = None
    accepted: Moment
    started_at: float | None = None
    finished_at: float | None = None
    abort: str | None = None
    abort_because_of: str | None = None
    abort_at: Moment | None = None
    abort_count: int = 0
    traceparent: str = ""
    concurrency: str = ""
    waits_for: str | None = None
    replaced_by: str | None = None
    rests_since: Moment | None = None
    rested: float = 0.0
    pause_on_failure: bool = False
    paused_by: str | None = None


class TaskRow(Struct, frozen=True, kw_only=True):
    """A task's present state. A task without a row is pending and waits for its dependencies.

    `outputs` is JSON with confidential values sealed (None: no outputs). `retry_at` is set while it waits for a retry.
    """

    group: str
    name: str
    index: int
    status: Status
    waiting: str | None = None
    reason: str | None = None
    because_of: str | None = None
    attempt: int = 0
    cached: bool = False
    outputs: bytes | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    kill: bytes | None = None
    runner: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    retry_at: Moment | None = None


class AttemptRow(Struct, frozen=True, kw_only=True):
    """One try at a task. `instance` is the executor's life that was chosen before it was sent; `sequence` the last report
    that is part of this state; `cancel_at` when a stop was first asked for, `cancel_grace` the shortest grace asked for;
    `paused` whether it is to be paused, as it was asked for last.
    `outcome` is a finished attempt's `Outcome` as JSON without outputs."""

    group: str
    task: str
    attempt: int
    status: Status
    runner: str
    instance: str
    handle: bytes | None = None
    sequence: int = 0
    dispatched: Moment
    started_at: float | None = None
    finished_at: float | None = None
    cancel_at: Moment | None = None
    cancel_grace: float | None = None
    paused: bool = False
    outcome: bytes | None = None


class Batch(Struct):
    """What one transaction records. Rows replace the row of the same identity: a group's `id`, a task's (`group`, `name`),
    an attempt's (`group`, `task`, `attempt`); of several with one identity the last counts. Events are appended. `notices`
    are groups whose end somebody outside has to be told of, each once."""

    groups: list[GroupRow] = []
    tasks: list[TaskRow] = []
    attempts: list[AttemptRow] = []
    events: list[Event] = []
    notices: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.groups or self.tasks or self.attempts or self.events or self.notices)


class GroupRecord(Struct, frozen=True, kw_only=True):
    """All of one group but its events. `tasks` in the order of `index`, `attempts` ordered by task name, then by their
    number. `last_event` is the number of the last event, 0 before the first."""

    group: GroupRow
    tasks: Sequence[TaskRow]
    attempts: Sequence[AttemptRow]
    last_event: int


class GroupHead(Struct, frozen=True, kw_only=True):
    """A group without its tasks; `group` comes without `document` and `inputs` (empty)."""

    group: GroupRow
    last_event: int


class GroupQuery(Struct, frozen=True, kw_only=True):
    """Which groups are wanted: all that is given has to fit. `labels` with an empty value ask for the label with any value.
    Times in seconds since the epoch, of the acceptance; `before` is the `next` of the page before."""

    limit: int = 100
    before: int | None = None
    caller: str | None = None
    statuses: frozenset[Status] = frozenset()
    labels: Mapping[str, str] = {}
    accepted_from: float | None = None
    accepted_before: float | None = None


class GroupPage(Struct, frozen=True, kw_only=True):
    """The last accepted first; rows without `document` and `inputs` (empty). `next` is None on the last page."""

    rows: Sequence[GroupRow]
    next: int | None = None


class FinishedGroup(Struct, frozen=True, kw_only=True):
    """A group that is over. `finished_at` in seconds since the epoch; `number` grows in the order of acceptance. `log_bytes` is
    what its logs take on disk, 0 where that is not known yet."""

    id: str
    number: int
    finished_at: float
    accepted: Moment
    log_bytes: int = 0


class Usage(Struct, frozen=True, kw_only=True):
    """So many groups are over, and so much their logs take, as far as that is known."""

    groups: int
    log_bytes: int


class Notice(Struct, frozen=True, kw_only=True):
    """That a group is over has to be told, and was tried `tries` times; it is to be tried at `due`, seconds since the epoch."""

    group: str
    message_id: str
    tries: int = 0
    due: float = 0.0


class StoreReader(Protocol):
    """What is asked of a store. Raises StoreError where the state cannot be read, and once it is closed."""

    def group(self, id: str) -> GroupRecord | None: ...

    def unfinished(self) -> Sequence[str]:
        """The ids of all groups that are not terminal, in the order of their acceptance."""

    def groups(self, query: GroupQuery = GroupQuery()) -> GroupPage:  # noqa: B008 - it is frozen
        """A page of groups. One of which nothing or little fits may have fewer rows than `limit`, or none, and yet a next one:
        so that no question takes long."""

    def find(self, caller: str, public_id: str) -> str | None:
        """The id of the caller's group that he calls so."""

    def head(self, id: str) -> GroupHead | None: ...

    def document(self, id: str) -> bytes:
        """What `accept_group` was given. Raises GroupNotFoundError."""

    def tasks(self, group: str, names: Sequence[str]) -> Sequence[TaskRow]:
        """The rows of these tasks, of those that have one, in the order of `index`; none of an unknown group."""

    def tasks_in(self, group: str, statuses: Collection[Status], limit: int) -> Sequence[TaskRow]:
        """The rows of tasks of these statuses, in the order of `index`, at most `limit`; none of an unknown group."""

    def attempts(self, group: str, task: str) -> Sequence[AttemptRow]:
        """Those at one task, by their number; none of an unknown group or task."""

    def task_counts(self, group: str) -> Mapping[Status, int]:
        """How many rows of tasks have which status; tasks without a row are not counted."""

    def events(self, group: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Events with a number above `after`, in order, at most `limit`; none of an unknown group."""

    def close(self) -> None:
        """Idempotent."""


class Store(StoreReader, Protocol):
    """Every verb is one transaction: it happened, or it raised a RunnerError and nothing changed. It may then be tried
    again, e.g. after a StoreFullError once there is space. After `close` every verb but `close` raises StoreError.

    No verb waits for a disk to confirm anything; only `sync` answers when it has.
    """

    def accept_group(self, row: GroupRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> None:
        """Record a new group, its first events, and tasks of it of which something is known already. Raises GroupExistsError when the id, or the caller's `public_id`, is taken,
        whatever its content."""

    def record(self, batch: Batch) -> None:
        """Record what happened. On return it survives the end of this process, not yet a loss of power.

        Of a group's row `document` and `inputs` are ignored: they stay as they were accepted. Raises GroupNotFoundError when
        a row or event is of a group that is not there, StoreError when an event's number does not follow the group's last
        one or its fields are not plain data.
        """

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        """Call `done(None)`, on the loop and never from within this call, once all that was recorded before survives a loss
        of power; `done(error)`, a StoreError, when that cannot be had. Calls that come while one is under way are answered
        together. Every call is answered, in the order of the calls, also when the store is closed meanwhile."""

    def delete_group(self, id: str) -> None:
        """Remove a group and all that belongs to it: nobody sees any of it again. Takes no time, whatever the group's size: what is
        left of it is for `purge`. Unknown ids are ignored."""

    def close(self) -> None:
        """Give the state free for another process. Idempotent."""


class Archive(Store, Protocol):
    """A store whose groups are looked after once they are over. Its verbs are transactions too."""

    def reseal(self, id: str, digest: str, inputs: bytes, outputs: Mapping[str, bytes]) -> None:
        """Put these in the place of what is kept of a group, and of the outputs of those of its tasks that are named: the same,
        sealed anew. Raises GroupNotFoundError."""

    def compact(self) -> None:
        """Leave nothing in the file of what was removed or replaced. Takes as long as all is written anew, and as much room."""

    def purge(self, rows: int) -> bool:
        """Remove about so many rows that deleted groups have left; whether there may be more."""

    def removed(self) -> Sequence[str]:
        """The ids of deleted groups of which rows are left. There may be new groups of the same ids."""

    def finished(self, after: FinishedGroup | None = None, limit: int = 100) -> Sequence[FinishedGroup]:
        """Groups that are over and of which nobody has to be told any more, behind `after`; those that have been over for the
        longest time first."""

    def usage(self) -> Usage: ...

    def used_bytes(self) -> int:
        """What is in use of the store itself, whatever the size of a file: what is free in it is used again."""

    def unmeasured(self, limit: int = 100) -> Sequence[str]:
        """Groups that are over and of which it is not known how much their logs take."""

    def measured(self, log_bytes: Mapping[str, int]) -> None:
        """Keep how much the logs of these groups take. Unknown ids are ignored."""

    def notices(self, due: float, limit: int = 100) -> Sequence[Notice]:
        """Notices that are due at this time, the longest overdue first."""

    def next_notice(self) -> float | None:
        """When the next notice is due; None where there is none."""

    def postpone(self, notice: Notice) -> None:
        """Keep its `tries` and `due`. One that is not there any more is ignored."""

    def is_announced(self, group: str) -> bool:
        """Whether somebody has still to be told of the end of this group."""

    def settle(self, group: str) -> None:
        """The end of this group needs to be told no more."""
