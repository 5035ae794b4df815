"""One kept run, open for reading."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from runner.engine import results, turns
from runner.engine.facts import Live
from runner.engine.library import Library
from runner.engine.story import Story
from runner.errors import GroupNotFoundError
from runner.logs.reader import FileLogReader
from runner.model.dispatch import AttemptId
from runner.model.explanation import Explanation
from runner.model.log import Frame, LogGap, Stream
from runner.model.result import Reason, TaskGroupResult, TaskResult
from runner.model.summary import GroupSummary
from runner.runs import holder, interrupted
from runner.sealing import Sealer
from runner.store.base import GroupQuery, GroupRecord
from runner.store.reader import SqliteReader
from runner.store.retirement import DATABASE


class Run:
    """A folder of `runs/`: the state of one group, and its logs. To be closed."""

    def __init__(self, folder: Path, sealer: Sealer) -> None:
        """Raises GroupNotFoundError where the folder holds no group (yet, or any more), and StoreError."""
        self._folder = folder
        self._lock = folder / f"{DATABASE}.lock"
        self._sealer = sealer
        self._logs = FileLogReader(folder / "logs")
        try:
            self._store = SqliteReader.open_beside(folder / DATABASE)
        except FileNotFoundError:
            raise GroupNotFoundError(f"there is no run in {folder}") from None
        try:
            self._library = Library(self._store, sealer, lambda _: None)
            rows = self._store.groups(GroupQuery(limit=1)).rows
            if not rows:
                raise GroupNotFoundError(f"the run in {folder} was never accepted: remove that folder")
        except BaseException:
            self._store.close()
            raise
        self.id = rows[0].id
        self.accepted_at = rows[0].accepted.wall

    def close(self) -> None:
        self._store.close()

    @property
    def is_held(self) -> bool:
        """Whether a process carries it out."""
        return holder.find(self._lock) is not None

    @property
    def cancels(self) -> int:
        """How often it was asked to end early."""
        return self._library.head(self.id).group.abort_count

    def interrupt(self) -> bool:
        """Ask the process that carries it out to cancel it; False where there is none."""
        return holder.interrupt(self._lock)

    def summary(self, *, counts: bool = False) -> GroupSummary:
        """One that is unfinished and that nobody carries out has the reason `runner_lost`."""
        is_held = self.is_held  # asked first: what it writes last is seen
        head = self._library.head(self.id)
        row = head.group
        lost = not row.status.terminal and not is_held
        return GroupSummary(
            id=row.public_id,
            name=row.name,
            status=row.status,
            reason=Reason.RUNNER_LOST if lost else row.reason,
            labels=row.labels,
            caller=row.caller,
            accepted_at=row.accepted.wall,
            started_at=row.started_at,
            finished_at=row.finished_at,
            counts=self._library.counts(head) if counts else {},
            concurrency=row.concurrency,
            waits_for=row.waits_for if turns.is_waiting(row) else None,
            replaced_by=row.replaced_by,
            paused_by=row.paused_by,
        )

    def result(self) -> TaskGroupResult:
        """As recorded so far; with the reason of the `summary`."""
        reason = self.summary().reason
        return replace(results.group_result(self.record(), self._sealer), reason=reason)

    def explained(self, task: str | None) -> Explanation:
        """Raises GroupNotFoundError for a task that it does not have."""
        is_held = self.is_held  # asked first: what it writes last is seen
        live = Live(held=is_held, cancelled_by=interrupted.by(self._folder))
        return self._library.explained(self._library.head(self.id), task, live, time.time())

    @property
    def workspace(self) -> str:
        """Where its tasks work."""
        return self._library.head(self.id).group.workspace

    def record(self) -> GroupRecord:
        """All that is recorded of its group."""
        record = self._store.group(self.id)
        assert record is not None, "a group of a kept run is removed only with it"
        return record

    def task(self, name: str) -> TaskResult:
        """Raises GroupNotFoundError, with the nearest name."""
        return self._library.task(self.id, name)

    def story(self, *, output: bool) -> Story:
        return Story(self.id, self._store.events, self._logs.frames if output else _no_frames)

    def attempt(self, task: str, number: int, *, ahead: bool) -> AttemptId:
        """As `Library.attempt`."""
        return self._library.attempt(self.id, task, number, ahead=ahead)

    def is_over(self, id: AttemptId) -> bool:
        """Whether the attempt has ended, or will never begin."""
        return self._library.is_over(id)

    def gaps(self, id: AttemptId) -> Sequence[LogGap]:
        """As `LogReader.gaps`."""
        return self._logs.gaps(id)

    def place(self, id: AttemptId, stream: Stream, offset: int) -> int:
        """As `LogReader.place`."""
        return self._logs.place(id, stream, offset)

    def frames(self, id: AttemptId, after: int) -> Sequence[Frame]:
        """As `LogReader.frames`."""
        return self._logs.frames(id, after)


def _no_frames(id: AttemptId, after: int) -> Sequence[Frame]:
    del id, after
    return ()
