"""A store that crashes its engine at a chosen commit, upon a disk that can lose what was not synced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from runner.clock import Clock
from runner.errors import StoreError, StoreFullError
from runner.model.event import Event
from runner.model.result import Status
from runner.simulator.life import Life
from runner.store.base import AttemptRow, Batch, GroupHead, GroupPage, GroupQuery, GroupRecord, GroupRow, Store, TaskRow
from runner.store.memory import MemoryStore

SYNC_SECONDS = 0.004

Write = Callable[[Store], None]


class Disk:
    """What survives the engine: a MemoryStore, and the writes that led to it."""

    def __init__(self, clock: Clock, full: Sequence[tuple[float, float]] = ()) -> None:
        """`full`: spans of wall time, in seconds since the epoch, during which nothing can be written."""
        self._clock = clock
        self._full = full
        self.writes: list[Write] = []
        self.synced = 0
        """How many of the writes survive a loss of power."""
        self.store = MemoryStore(clock.call_soon)

    @property
    def now(self) -> float:
        """The wall time, in seconds since the epoch."""
        return self._clock.now().wall

    @property
    def full(self) -> bool:
        now = self.now
        return any(start <= now < end for start, end in self._full)

    def write(self, write: Write) -> None:
        if self.full:
            raise StoreFullError
        write(self.store)
        self.writes.append(write)

    def lose_power(self) -> None:
        """Back to the last completed sync."""
        self.go_back(self.synced)

    def go_back(self, count: int) -> None:
        """To what it was behind so many writes."""
        del self.writes[count:]
        self.synced = min(self.synced, count)
        self.store = MemoryStore(self._clock.call_soon)
        for write in self.writes:
            write(self.store)


class CrashingStore:
    """A `Store` for one life of an engine: every commit and every answer to a sync is a step of that life.

    `on_commit` is shown everything that was recorded. Reads are no steps: nothing leaves the engine with them. Closing it
    leaves the disk as it is.
    """

    def __init__(
        self, disk: Disk, clock: Clock, life: Life, on_commit: Callable[[Batch], None] = lambda batch: None
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._life = life
        self._on_commit = on_commit
        self._closed = False

    def accept_group(self, row: GroupRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> None:
        kept = Batch(groups=[row], tasks=list(tasks), events=list(events))
        self._write(kept, lambda store: store.accept_group(row, kept.events, kept.tasks))

    def record(self, batch: Batch) -> None:
        kept = Batch(
            list(batch.groups), list(batch.tasks), list(batch.attempts), list(batch.events), list(batch.notices)
        )
        self._write(kept, lambda store: store.record(kept))

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        self._check_open()
        mark = len(self._disk.writes)

        def complete() -> None:
            # The disk completes it whether or not the engine still lives to hear of it.
            error = StoreFullError() if self._disk.full else None
            if error is None:
                self._disk.synced = max(self._disk.synced, mark)
            if self._life.alive:
                self._life.step(partial(done, error))

        self._clock.call_at(self._clock.now().boot + SYNC_SECONDS, complete)

    def group(self, id: str) -> GroupRecord | None:
        return self._read().group(id)

    def unfinished(self) -> Sequence[str]:
        return self._read().unfinished()

    def groups(self, query: GroupQuery = GroupQuery()) -> GroupPage:  # noqa: B008 - it is frozen
        return self._read().groups(query)

    def find(self, caller: str, public_id: str) -> str | None:
        return self._read().find(caller, public_id)

    def head(self, id: str) -> GroupHead | None:
        return self._read().head(id)

    def document(self, id: str) -> bytes:
        return self._read().document(id)

    def tasks(self, group: str, names: Sequence[str]) -> Sequence[TaskRow]:
        return self._read().tasks(group, names)

    def tasks_in(self, group: str, statuses: Collection[Status], limit: int) -> Sequence[TaskRow]:
        return self._read().tasks_in(group, statuses, limit)

    def attempts(self, group: str, task: str) -> Sequence[AttemptRow]:
        return self._read().attempts(group, task)

    def task_counts(self, group: str) -> Mapping[Status, int]:
        return self._read().task_counts(group)

    def events(self, group: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        return self._read().events(group, after, limit)

    def delete_group(self, id: str) -> None:
        self._write(Batch(), lambda store: store.delete_group(id))

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    def _read(self) -> Store:
        self._check_open()
        return self._disk.store

    def _write(self, batch: Batch, write: Write) -> None:
        self._check_open()

        def step() -> None:
            self._disk.write(write)
            self._on_commit(batch)

        self._life.step(step)
