"""What is asked of groups that need not run any more: their tasks page by page, from rows and from documents that were read
lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from runner.engine import explaining, results
from runner.engine.document import Document, read
from runner.engine.facts import Live
from runner.errors import GroupNotFoundError
from runner.model.dispatch import AttemptId
from runner.model.explanation import Explanation
from runner.model.fault import no_such_task
from runner.model.result import Status, TaskResult
from runner.sealing import Sealer
from runner.store.base import GroupHead, StoreReader, TaskRow

KEPT_TASKS = 200_000
"""How many tasks the documents have together that are kept at hand. Each counts for some that it does not have."""
KEPT_BYTES = 32 << 20
"""How large they are together, as they are stored; at hand they take about three times that. The last one is kept in any case."""
LEAST_TASKS = 100


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some tasks of a group, in the order of its document. `next` is the index of the first one behind them, None at the end."""

    tasks: Sequence[TaskResult]
    next: int | None = None


class Library:
    def __init__(self, store: StoreReader, sealer: Sealer, running: Callable[[str], Document | None]) -> None:
        """`running` gives the document of a group that is at hand anyway."""
        self._store = store
        self._sealer = sealer
        self._running = running
        self._read: OrderedDict[str, Document] = OrderedDict()
        self._tasks = 0
        self._bytes = 0

    def head(self, id: str) -> GroupHead:
        """Raises GroupNotFoundError."""
        head = self._store.head(id)
        if head is None:
            raise GroupNotFoundError(f"there is no group with the id {id!r}")
        return head

    def page(self, head: GroupHead, first: int, count: int) -> TaskPage:
        """`count` tasks from the index `first` on."""
        document = self._document(head)
        end = min(first + count, len(document.group.tasks))
        return TaskPage(
            tasks=self._results(head, document, range(first, end)),
            next=end if end < len(document.group.tasks) else None,
        )

    def named(self, head: GroupHead, names: Sequence[str]) -> TaskPage:
        """These tasks alone. Raises GroupNotFoundError for one that the group does not have."""
        document = self._document(head)
        indices = {self._index_of(document, name) for name in names}
        return TaskPage(tasks=self._results(head, document, sorted(indices)))

    def unread(self, head: GroupHead) -> bytes | None:
        """The document as it is stored, where it is not at hand: reading a large one takes long, so give what `read` makes of it,
        in a thread perhaps, to `keep`. Else it is read when it is needed."""
        id = head.group.id
        return None if id in self._read or self._running(id) else self._store.document(id)

    def keep(self, head: GroupHead, document: Document) -> None:
        if head.group.id in self._read:
            return  # somebody else has read it meanwhile
        self._read[head.group.id] = document
        self._tasks += _tasks(document)
        self._bytes += document.bytes
        while len(self._read) > 1 and (self._tasks > KEPT_TASKS or self._bytes > KEPT_BYTES):
            self.forget(next(iter(self._read)))

    def forget(self, id: str) -> None:
        """The group is gone; another one may come to have its id."""
        gone = self._read.pop(id, None)
        if gone is not None:
            self._tasks -= _tasks(gone)
            self._bytes -= gone.bytes

    @property
    def kept(self) -> Sequence[str]:
        """The groups whose documents are at hand without being carried out."""
        return list(self._read)

    def task(self, id: str, name: str) -> TaskResult:
        """Raises GroupNotFoundError, for the task too."""
        (result,) = self.named(self.head(id), [name]).tasks
        return result

    def attempt(self, id: str, name: str, number: int, *, ahead: bool = False) -> AttemptId:
        """The attempt of that number at the task; for 0 the last one, or the first where there was none yet. Raises
        GroupNotFoundError, for the task too, and for an attempt that there was not unless `ahead`."""
        last = max(1, self.task(id, name).attempts)
        if number > last and not ahead:
            raise GroupNotFoundError(f"the task {name!r} has no attempt {number}: the last one was {last}")
        return AttemptId(id, name, number or last)

    def is_over(self, id: AttemptId) -> bool:
        """Whether the attempt has ended, or will never begin. Raises GroupNotFoundError."""
        task = self.task(id.group, id.task)
        return (
            task.status.terminal
            or task.attempts > id.attempt
            or (
                task.attempts == id.attempt and task.status is Status.PENDING  # it waits for the next one
            )
        )

    def explained(self, head: GroupHead, task: str | None, live: Live, now: float) -> Explanation:
        """Why the group, or one of its tasks, is as it is; `now` in seconds since the epoch. Raises GroupNotFoundError for a task that it
        does not have."""
        document = self._document(head)
        if task is None:
            return explaining.of_group(self._store, head.group, document, live, now)
        self._index_of(document, task)
        return explaining.of_task(self._store, head.group, document, live, now, task)

    def counts(self, head: GroupHead) -> Mapping[Status, int]:
        """How many of the group's tasks have which status; of those that occur."""
        counts = dict(self._store.task_counts(head.group.id))
        waiting = head.group.task_count - sum(counts.values())
        if waiting:
            counts[Status.PENDING] = counts.get(Status.PENDING, 0) + waiting
        return counts

    @staticmethod
    def _index_of(document: Document, name: str) -> int:
        """Raises GroupNotFoundError."""
        index = document.graph.index
        if name not in index:
            raise GroupNotFoundError(no_such_task(name, index))
        return index[name]

    def _results(self, head: GroupHead, document: Document, indices: Sequence[int]) -> list[TaskResult]:
        tasks = document.group.tasks
        rows = self._rows(head, [tasks[index].name for index in indices])
        parents = {
            tasks[parent].name
            for index in indices
            if tasks[index].name not in rows
            for parent in document.graph.parents[index]
        }
        rows |= self._rows(head, [name for name in parents if name not in rows])
        return results.task_results(head.group, document.group, document.graph, rows, indices, self._sealer)

    def _rows(self, head: GroupHead, names: Sequence[str]) -> dict[str, TaskRow]:
        return {row.name: row for row in self._store.tasks(head.group.id, names)} if names else {}

    def _document(self, head: GroupHead) -> Document:
        id = head.group.id
        known = self._running(id) or self._read.get(id)
        if known is None:
            known = read(self._store.document(id))
            self.keep(head, known)
        elif id in self._read:
            self._read.move_to_end(id)
        return known


def _tasks(document: Document) -> int:
    return LEAST_TASKS + len(document.group.tasks)
