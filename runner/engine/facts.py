"""What is known of the tasks of one group: what the store holds, looked up as it is needed, each row once, and which task explains another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from msgspec import Struct

from runner.engine import turns
from runner.engine.document import Document
from runner.model.load import Load
from runner.model.peer import PeerState
from runner.model.result import Skip, Status, Waiting
from runner.store.base import GroupRow, StoreReader, TaskRow

MOST_LOOKED_AT = 12_000
"""So many rows, and steps from one task to another, one answer is worth: whoever answers has others to serve as well."""
EDGES_PER_ROW = 20
"""So many edges cost as much as one row."""
AHEAD = 16
"""So many steps of a chain are looked up together."""
TROUBLE = (Status.ERRORED, Status.FAILED)


class Live(Struct, frozen=True, kw_only=True):
    """What is known beside the store. `held` is whether somebody carries the group out; `load` is the runner's, None where that is
    not known, and it is `leaving` when it begins nothing more. `why` tells, of a task by its index or of `WHOLE_GROUP`, why it waits for a runner.
    `lost_after` is in seconds."""

    held: bool = True
    cancelled_by: str | None = None
    """What did it, where that is known better than that it was a caller."""
    load: Load | None = None
    leaving: bool = False
    why: Callable[[int], str | None] = lambda index: None
    peers: Mapping[str, PeerState] = {}
    lost_after: float | None = None
    line: Sequence[str] = ()
    """What the groups are called that have to be over before it is the turn of this one, as far as that is known."""


class Facts:
    """Of tasks by their index."""

    def __init__(self, store: StoreReader, group: GroupRow, document: Document) -> None:
        self._store = store
        self._group = group.id
        self._is_held = turns.is_waiting(group)
        self._is_paused = group.paused_by is not None
        self._tasks = document.group.tasks
        self._graph = document.graph
        self._rows: dict[int, TaskRow | None] = {}
        self._left = MOST_LOOKED_AT

    def row(self, index: int) -> TaskRow | None:
        """None for one that is pending and of which nothing is written down."""
        if index not in self._rows:
            self._look_up([index])
        return self._rows[index]

    def status(self, index: int) -> Status:
        row = self.row(index)
        return Status.PENDING if row is None else row.status

    def waiting(self, index: int) -> Waiting:
        """Of one that is pending."""
        row = self.row(index)
        if self._is_held and not self._graph.parents[index]:
            return Waiting.CONCURRENCY
        if row is not None and row.waiting is not None:
            return Waiting(row.waiting)
        if self.open_parents(index) or self.unknown_parents(index):
            return Waiting.DEPENDENCY
        return Waiting.PAUSED if self._is_paused else Waiting.SLOT

    def open_parents(self, index: int) -> list[int]:
        """What it depends on and is not over, of what is known."""
        parents = self._graph.parents[index]
        self.read(parents)
        return [parent for parent in parents if parent in self._rows and not self.status(parent).terminal]

    def unknown_parents(self, index: int) -> int:
        """How many of those that it depends on are too many to be looked at."""
        return sum(parent not in self._rows for parent in self._graph.parents[index])

    def read(self, indices: Iterable[int]) -> None:
        """Look them up together, as many as the answer is worth."""
        unread = (index for index in indices if index not in self._rows)
        self._look_up(list(islice(unread, max(0, self._left))))

    def _look_up(self, indices: Sequence[int]) -> None:
        if indices:
            self._left -= len(indices)
            self._rows.update(dict.fromkeys(indices))
            names = [self._tasks[index].name for index in indices]
            self._rows.update({row.index: row for row in self._store.tasks(self._group, names)})

    def onward(self, index: int) -> int | None:
        """The task that explains this one; None where none does."""
        row, status = self.row(index), self.status(index)
        if status is Status.SKIPPED and row is not None and row.because_of and row.reason != Skip.GROUP_ABORTED:
            return self._graph.index[row.because_of]
        if status is Status.PENDING and self.waiting(index) is Waiting.DEPENDENCY:
            return next(iter(self.open_parents(index)), None)
        return None

    def end_of_chain(self, index: int) -> tuple[int, int]:
        """Where the causes of a task begin, and how many steps that is away."""
        steps = 0
        while self._left > 0:
            self._look_ahead(index)
            onward = self.onward(index)
            if onward is None:
                break
            index = onward
            steps += 1
            self._left -= 1
        return index, steps

    def _look_ahead(self, index: int) -> None:
        """Look up what the chain probably goes on with."""
        ahead: list[int] = []
        for _ in range(AHEAD):
            parents = self._graph.parents[index]
            if not parents or parents[0] in self._rows or len(ahead) + len(parents) > AHEAD:
                break
            ahead += parents
            index = next((parent for parent in parents if self._graph.parents[parent]), parents[0])
        self.read(ahead)

    def trouble_before(self, index: int) -> int | None:
        """The nearest of the tasks before it that failed; None where there is none, or it is too far."""
        seen, edge = {index}, [index]
        while edge and self._left > 0:
            before = (parent for each in edge for parent in self._graph.parents[each])
            looked_at = list(islice(before, self._left * EDGES_PER_ROW))
            self._left -= len(looked_at) // EDGES_PER_ROW
            parents = sorted(set(looked_at) - seen)
            self.read(parents)
            for parent in parents:
                if parent in self._rows and self.status(parent) in TROUBLE:
                    return parent
            seen.update(parents)
            edge = parents
        return None
