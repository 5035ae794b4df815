"""What must be true at every single moment, watched while a world goes on. What is not is kept as a complaint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.engine.engine import Engine
from runner.model import codec
from runner.model.dispatch import WHOLE, AttemptId, Dispatch
from runner.model.event import Event, Kind
from runner.model.result import Outcome, Status, Waiting
from runner.model.session import Submit, SubmitGroup
from runner.simulator.scenario import PEER, SECRET_MARK
from runner.simulator.store import Disk
from runner.store.base import Batch

_WAITING_AFTER: Mapping[Kind, Waiting | None] = {
    Kind.TASK_READY: Waiting.SLOT,
    Kind.TASK_PAUSED: Waiting.PAUSED,
    Kind.TASK_RESUMED: None,
}
"""What a task waits for, where this is the last that a transaction tells of it."""


class Witness:
    def __init__(self, disk: Disk, max_parallel: int) -> None:
        self._disk = disk
        self._max_parallel = max_parallel
        self._open: dict[AttemptId, str] = {}
        """Attempts that are not finished, by the disk, each with its runner."""
        self._written: dict[AttemptId, int] = {}
        """How many writes the disk had had when it had the attempt."""
        self._of_this_life: set[AttemptId] = set()
        """Attempts that the present engine has begun."""
        self._stopped_early: set[AttemptId] = set()
        """Attempts that the present engine stopped; it may not have written that down."""
        self.forgotten_stops: set[AttemptId] = set()
        """Attempts that a former engine stopped without having written it down."""
        self.told: dict[str, float] = {}
        """When whoever waits for a group was told that it is over, in seconds since the epoch."""
        self._known_limits: dict[str, Mapping[str, int | None]] = {}
        self.complaints: list[str] = []

    def new_life(self) -> None:
        """The next engine begins."""
        self._of_this_life.clear()
        self.forgotten_stops |= {id for id in self._stopped_early if not self._is_stop_recorded(id)}
        self._stopped_early.clear()

    def committed(self, batch: Batch) -> None:
        self.complaints += _secrets(batch)
        for group in batch.groups:
            if group.status.terminal:
                self.heard_end(group.id)
        for row in batch.attempts:
            id = AttemptId(row.group, row.task, row.attempt)
            if row.status.terminal:
                self._open.pop(id, None)
            elif id not in self._open:
                self._open[id] = row.runner
                self._written[id] = len(self._disk.writes)
                self._of_this_life.add(id)
        here = self._open_here()
        if len(here) > self._max_parallel:
            self.complaints.append(f"{len(here)} attempts are in flight at once: {_spell(here)}")
        self._look_at_matrices()
        for task in batch.tasks:
            if task.status is Status.PENDING and task.waiting is None:
                self.complaints.append(f"{task.group}/{task.name} is pending and no reason is recorded")
            if task.status is Status.RUNNING and (task.exit_code, task.error, task.finished_at) != (None, None, None):
                self.complaints.append(f"{task.group}/{task.name} runs, and its row tells how it ended")
            if (task.retry_at is not None) != (task.waiting == Waiting.RETRY_DELAY):
                self.complaints.append(
                    f"{task.group}/{task.name} waits for {task.waiting}, its retry is at {task.retry_at}"
                )
        last = {(event.group, event.task): event for event in batch.events}
        for event in last.values():
            if event.kind is Kind.TASK_WAITING:
                self._expect_waiting(event, Waiting(event.fields["waiting"]))
            elif event.kind in _WAITING_AFTER:
                self._expect_waiting(event, _WAITING_AFTER[event.kind])

    def _look_at_matrices(self) -> None:
        """That no more instances of each are in flight than may be."""
        of_one: dict[tuple[str, str], set[AttemptId]] = {}
        for id in self._open:
            if "[" in id.task:
                of_one.setdefault((id.group, id.task.partition("[")[0]), set()).add(id)
        for (group, name), ids in of_one.items():
            most = self._limits(group).get(name)
            if most is not None and len(ids) > most:
                self.complaints.append(f"{len(ids)} instances are in flight at once, {most} may be: {_spell(ids)}")

    def _limits(self, group: str) -> Mapping[str, int | None]:
        """How many instances of each matrix of the group may be in flight."""
        if group not in self._known_limits:
            record = self._disk.store.group(group)
            tasks = codec.decode_group(record.group.document).tasks if record else ()
            self._known_limits[group] = {it.matrix.of: it.matrix.max_parallel for it in tasks if it.matrix}
        return self._known_limits[group]

    def _expect_waiting(self, event: Event, waiting: Waiting | None) -> None:
        record = self._disk.store.group(event.group)
        for row in record.tasks if record else ():
            if row.name == event.task and row.waiting != waiting:
                self.complaints.append(
                    f"after {event.kind} the row of {event.group}/{row.name} says that it waits for {row.waiting}"
                )

    def submitting(self, dispatch: Dispatch) -> None:
        """An attempt is handed to the executor: all that led to it must be on the disk."""
        id = dispatch.id
        record = self._disk.store.group(id.group)
        if record is None:
            self.complaints.append(f"{id} was dispatched before its group was recorded")
            return
        attempts = {(row.task, row.attempt): row for row in record.attempts}
        row = attempts.get((id.task, id.attempt))
        if row is None or row.instance != dispatch.instance:
            self.complaints.append(f"{id} was dispatched before that was recorded")
        elif row.status.terminal:
            self.complaints.append(f"{id} was dispatched after its end was recorded")
        elif row.handle != dispatch.handle:
            self.complaints.append(
                f"{id} was dispatched with the handle {dispatch.handle!r}, recorded is {row.handle!r}"
            )
        elif row.runner == PEER and self._written[id] > self._disk.synced:
            self.complaints.append(f"{id} was sent to another machine before a loss of power could not undo that")
        elif row.paused is not dispatch.paused and not self._disk.full:
            self.complaints.append(f"{id} was dispatched with paused={dispatch.paused}, recorded is {row.paused}")
        if dispatch.resumed != (id not in self._of_this_life):
            self.complaints.append(f"{id} was dispatched with resumed={dispatch.resumed}, which is wrong")
        done = {task.name for task in record.tasks if task.status.terminal}
        if missing := [name for name in dispatch.task.edges if name not in done]:
            self.complaints.append(f"{id} was dispatched before {', '.join(missing)} ended")

    def sending(self, submit: Submit | SubmitGroup) -> None:
        """An attempt, or a group, is handed to another machine, for the first time or anew."""
        dispatch = submit.dispatch
        id = dispatch.id
        record = self._disk.store.group(id.group)
        rows = record.attempts if record else ()
        row = next((row for row in rows if (row.task, row.attempt) == id[1:]), None)
        if row is None or row.instance != dispatch.instance or row.runner != PEER:
            self.complaints.append(f"{id} was sent to another machine before that was recorded")
        elif not row.status.terminal and self._written.get(id, 0) > self._disk.synced:
            self.complaints.append(f"{id} was sent to another machine before a loss of power could not undo that")
        elif row.status.terminal and submit.cancel_grace is None:
            self.complaints.append(f"{id} was sent to another machine, to be started there, after its end was recorded")

    def cancelling(self, id: AttemptId) -> None:
        """An attempt is asked to stop, which need not be on the disk, nor safe there."""
        self._stopped_early.add(id)

    def pausing(self, id: AttemptId, paused: bool) -> None:
        """An attempt is asked to pause, or to go on: it must be on the disk, unless nothing can be written there."""
        record = self._disk.store.group(id.group)
        rows = record.attempts if record else ()
        recorded = any((row.task, row.attempt) == id[1:] and row.paused is paused for row in rows)
        if not recorded and not self._disk.full:
            self.complaints.append(f"{id} was told {'to pause' if paused else 'to go on'} before that was recorded")

    def _is_stop_recorded(self, id: AttemptId) -> bool:
        record = self._disk.store.group(id.group)
        rows = record.attempts if record else ()
        return any((row.task, row.attempt) == id[1:] and row.cancel_at is not None for row in rows)

    def heard_end(self, group: str) -> None:
        """Whoever waits for the group is told that it is over."""
        self.told.setdefault(group, self._disk.now)

    def look(self, engine: Engine) -> None:
        """What a client sees now: every task that neither runs nor ended says why."""
        for id in self._disk.store.unfinished():
            for task in engine.result(id).results.values():
                paused = task.status is Status.RUNNING and task.waiting is Waiting.PAUSED
                if (task.status is Status.PENDING) != (task.waiting is not None) and not paused:
                    self.complaints.append(f"{id}/{task.name} is {task.status} and waits for {task.waiting}")

    def power_lost(self) -> frozenset[AttemptId]:
        """The disk went back in time: which attempts are not finished by what is left of it, and ran on the machine that went down."""
        self._open.clear()
        for id in self._disk.store.unfinished():
            record = self._disk.store.group(id)
            assert record is not None, "the store lists only groups that it has"
            rows = (row for row in record.attempts if not row.status.terminal)
            self._open.update((AttemptId(row.group, row.task, row.attempt), row.runner) for row in rows)
        return frozenset(self._open_here())

    def _open_here(self) -> set[AttemptId]:
        return {id for id, runner in self._open.items() if runner != PEER and id.task != WHOLE}

    def expect_kept(self, settled: Mapping[AttemptId, Outcome]) -> None:
        """Ends that the engine acknowledged to the executor must be on the disk."""
        for id, outcome in settled.items():
            record = self._disk.store.group(id.group)
            rows = [row for row in record.attempts if (row.task, row.attempt) == id[1:]] if record else []
            if not rows or not rows[0].status.terminal:
                self.complaints.append(f"the acknowledged end of {id} ({outcome.status}) was lost with the power")

    def expect_group(self, id: str) -> None:
        if self._disk.store.group(id) is None:
            self.complaints.append(f"the acknowledged group {id} was lost with the power")

    def expect_cancel(self, id: str, count: int) -> None:
        record = self._disk.store.group(id)
        if record is None or (record.group.abort_count < count and not record.group.status.terminal):
            self.complaints.append(f"cancel {count} of {id} was acknowledged and lost with the power")


def _secrets(batch: Batch) -> Iterator[str]:
    """Where a confidential value stands in clear."""
    for group in batch.groups:
        if SECRET_MARK.encode() in group.inputs or SECRET_MARK.encode() in group.document:
            yield f"a confidential value of {group.id} is on the disk in clear"
    for task in batch.tasks:
        if (task.outputs and SECRET_MARK.encode() in task.outputs) or SECRET_MARK in (task.error or ""):
            yield f"a confidential value of {task.group}/{task.name} is on the disk in clear"
    for attempt in batch.attempts:
        if attempt.outcome and SECRET_MARK.encode() in attempt.outcome:
            yield f"a confidential value of {attempt.group}/{attempt.task}/{attempt.attempt} is on the disk in clear"
    for event in batch.events:
        if SECRET_MARK in str(event.fields):
            yield f"event {event.number} of {event.group} tells a confidential value"


def _spell(ids: set[AttemptId]) -> str:
    return ", ".join(sorted(str(id) for id in ids))
