"""Why a group, or a task of it, is as it is: what waits for what, what failed, and what followed from that.

Of what the store holds at this moment, and of what only the engine knows: how many slots are taken, which peers are there. A chain of
causes ends with what has none in the group: what runs, waits for something outside, was decided by the document or a caller, or
failed by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from runner.engine import turns
from runner.engine.abroad import WHOLE_GROUP
from runner.engine.causes import MOST_OF_A_KIND, TaskCauses
from runner.engine.document import Document
from runner.engine.endings import asked_by
from runner.engine.facts import TROUBLE, Live
from runner.model.dispatch import WHOLE
from runner.model.explanation import Cause, Explanation
from runner.model.result import Status, Waiting
from runner.model.words import counted, duration, listed
from runner.store.base import GroupRow, StoreReader

MOST_NAMED = 5
MOST_LOOKED_AT = 1000
"""So many tasks are looked at to find those that wait for something outside the group."""


def of_group(store: StoreReader, row: GroupRow, document: Document, live: Live, now: float) -> Explanation:
    """`row` may be without document and inputs; `now` in seconds since the epoch."""
    causes = TaskCauses(store, row, document, live, now)
    return Explanation(id=row.public_id, name=row.name, cause=_Group(store, row, document, live, causes).told())


def of_task(store: StoreReader, row: GroupRow, document: Document, live: Live, now: float, task: str) -> Explanation:
    """The group has such a task."""
    cause = TaskCauses(store, row, document, live, now).task(document.graph.index[task])
    return Explanation(id=row.public_id, name=row.name, task=task, cause=cause)


class _Group:
    def __init__(self, store: StoreReader, row: GroupRow, document: Document, live: Live, causes: TaskCauses) -> None:
        self._store = store
        self._row = row
        self._document = document.group
        self._live = live
        self._causes = causes

    def told(self) -> Cause:
        row = self._row
        status = row.status
        because: list[Cause] = []
        if not status.terminal:
            text = "has not begun yet" if status is Status.PENDING else self._causes.runs(row.started_at)
            because += self._causes.lost()
            because += self._whole_group()
            turn = turns.cause(row, self._live.line)
            if row.paused_by is not None:
                text += f", and {turns.paused(row)}"
            if row.abort is not None:
                because.append(self._causes.abort())
            because += self._at_work() if turn is None else [turn]
        else:
            took = (
                ""
                if row.started_at is None or row.finished_at is None
                else f" after {duration(max(0.0, row.finished_at - row.started_at))}"
            )
            text = {Status.SUCCESS: "succeeded", Status.ABORTED: "was aborted"}.get(status, status.value) + took
            because += self._whole_group()
            if row.abort is not None:
                because.append(self._causes.abort())
            because += self._troubles()
        name = f"the group {row.name}" if row.name else "the group"
        at = row.finished_at if status.terminal else row.started_at
        return Cause(kind=status.value, text=f"{name} {text}", at=at, because=tuple(because))

    def _at_work(self) -> list[Cause]:
        """What is under way, or failed, and what waits for something else than that."""
        causes = self._those((Status.RUNNING,))
        pending = self._store.tasks_in(self._row.id, (Status.PENDING,), MOST_LOOKED_AT)
        waiting = [row.index for row in pending if row.waiting not in (None, Waiting.DEPENDENCY.value)]
        causes += [self._causes.task(index) for index in waiting[:MOST_OF_A_KIND]]
        rest = len(waiting) - MOST_OF_A_KIND
        if rest > 0:
            least = "at least " if len(pending) == MOST_LOOKED_AT else ""
            causes.append(
                Cause(kind="more", text=f"{least}{counted(rest, 'more task')} {'waits' if rest == 1 else 'wait'}")
            )
        if not causes:
            open_ones = (
                index
                for index, task in enumerate(self._document.tasks)
                if not self._causes.facts.status(index).terminal
            )
            causes += [self._causes.task(index) for index in islice(open_ones, 1)]
        return causes + self._troubles()

    def _troubles(self) -> list[Cause]:
        """What failed, and what was ended or skipped. What was ended in a group that goes on has a reason of its own."""
        is_ending = self._row.abort is not None
        causes = self._those(TROUBLE if is_ending else (*TROUBLE, Status.ABORTED))
        counts = self._store.task_counts(self._row.id)
        for status in (Status.ABORTED, Status.SKIPPED) if is_ending else (Status.SKIPPED,):
            number = counts.get(status, 0)
            if number:
                names = [row.name for row in self._store.tasks_in(self._row.id, (status,), MOST_NAMED)]
                were = "was" if number == 1 else "were"
                text = f"{counted(number, 'task')} {were} {status.value}: {listed(names, number)}"
                causes.append(Cause(kind=status.value, text=text))
        return causes

    def _those(self, statuses: Sequence[Status]) -> list[Cause]:
        """The tasks of these statuses, or the first of them."""
        rows = self._store.tasks_in(self._row.id, statuses, MOST_OF_A_KIND)
        causes = [self._causes.task(row.index) for row in rows]
        counts = self._store.task_counts(self._row.id)
        rest = sum(counts.get(status, 0) for status in statuses) - len(rows)
        if rest > 0:
            end = "s" if rest == 1 else ""
            did = f"run{end}" if Status.RUNNING in statuses else "did not succeed"
            causes.append(Cause(kind="more", text=f"{counted(rest, 'more task')} {did}"))
        return causes

    def _whole_group(self) -> list[Cause]:
        """Where all of it is carried out, if it was forwarded."""
        forward = self._document.forward
        if forward is None:
            return []
        attempts = self._store.attempts(self._row.id, WHOLE)
        if not attempts:
            why = self._live.why(WHOLE_GROUP)
            if self._row.status.terminal or why is None:
                return []
            return [Cause(kind=Waiting.PEER_UNREACHABLE.value, text=f"it waits for a runner: {why}")]
        runner, is_over = attempts[-1].runner, self._row.status.terminal
        placed = f"all of it {'was' if is_over else 'is'} carried out by {runner}, {asked_by(forward)}"
        return [Cause(kind="placed", text=placed), *(() if is_over else self._causes.away(runner))]
