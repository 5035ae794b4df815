"""What a group's tasks are doing, by its story: what a live view shows. Pure.

Every task is a row in one of five heaps, so that a thousand tasks cost no more to look at than the few that are shown.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import islice

from msgspec import Struct

from runner.cli.report import cause_text, ending, event_line, reason_text, replaced, shortened, skip_reason, standstill
from runner.cli.tails import Tails
from runner.model.event import Event, Kind
from runner.model.explanation import Cause
from runner.model.result import Abort, Status, TaskResult, Waiting
from runner.model.watch import Happening
from runner.model.words import duration, listed

MOST_PARENTS = 3
MOST_EXPLAINED = 50

_FAILURES = (Status.FAILED, Status.ERRORED)
_SAID = frozenset({Kind.MASK_SKIPPED, Kind.KILL_REPORT, Kind.LOG_GAP, Kind.LOG_REDACTED, Kind.LATE_RESULT})
"""What is worth a line of its own that stays."""


class Heap(IntEnum):
    """Where a row is: what failed, what runs, what waits for something else than other tasks or a slot, what waits for these, the
    rest."""

    FAILED = 0
    RUNNING = 1
    WAITING = 2
    PENDING = 3
    OVER = 4


class Row(Struct):
    """One task. Times in seconds: `since` and `due` since the epoch, by the clock of whoever carries it out."""

    name: str
    index: int
    heap: Heap = Heap.PENDING
    status: Status = Status.PENDING
    waiting: str | None = Waiting.DEPENDENCY
    attempt: int = 0
    since: float | None = None
    took: float | None = None
    due: float | None = None
    note: str = ""
    """Why it ended as it did, or waits."""
    last: str = ""
    """What it printed last, once it is over."""


class Board:
    """Takes a story, piece by piece. `said` are lines that are to stay on the screen, above all else; whoever shows them clears it."""

    def __init__(
        self,
        tasks: Iterable[str],
        tails: Tails,
        *,
        edges: Mapping[str, Sequence[str]] | None = None,
        total: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`tasks` are names, the first of `total` where there are more. `edges` tell which tasks each waits for, where that is known;
        those that are no tasks of this group are over. `tails` are given all of the story from here."""
        self.rows = {name: Row(name, index) for index, name in enumerate(tasks)}
        self.total = max(len(self.rows), total or 0)
        self.counts = Counter({Status.PENDING: self.total})
        self.heaps: tuple[dict[str, Row], ...] = tuple({} for _ in Heap)
        self.heaps[Heap.PENDING].update(self.rows)
        self.edges = edges
        self._explained: dict[str, tuple[str, Sequence[str]]] = {}
        """What was found out about those that wait, where edges are not known; and the tasks that it names."""
        self.said: list[str] = []
        self.note = ""
        """What is to be said of the group as a whole."""
        self._held: dict[str, None] = {}
        """The tasks for whose failure the group stands still; it is told for the first."""
        self.since: float | None = None
        self._until: float | None = None
        """When it was over, which may be long ago."""
        self._tails = tails
        self._now = now
        self._ahead = 0.0
        """How far the clock of whoever carries it out is ahead of ours, at least."""

    @property
    def now(self) -> float:
        return self._now() + self._ahead

    @property
    def over(self) -> int:
        return self.total - self.counts[Status.PENDING] - self.counts[Status.RUNNING]

    @property
    def failed(self) -> int:
        return sum(self.counts[status] for status in _FAILURES)

    def know(self, results: Iterable[TaskResult]) -> None:
        """What was over before anybody looked; some of it no event tells."""
        for result in results:
            row = self.rows.get(result.name)
            if row is not None and result.status.terminal:
                row.note = "" if result.status is Status.SUCCESS else ending(result).partition(": ")[2]
                self._move(row, result.status)

    def take(self, happening: Happening) -> None:
        if isinstance(happening, Event):
            self._tell(happening)
        self._tails.take(happening)  # behind, for it lets go of what an attempt has printed when that is over

    def _tell(self, event: Event) -> None:
        self._ahead = max(self._ahead, event.at - self._now())
        if event.task is None:
            self._take_group(event)
            return
        row = self.rows.get(event.task)
        if row is None:
            row = self.rows[event.task] = Row(event.task, len(self.rows))
            if len(self.rows) > self.total:
                self.total += 1
                self.counts[Status.PENDING] += 1
        self._take_task(row, event)
        line = event_line(event, None) if event.kind in _SAID else None
        if line is not None:
            self.said.append(f"{row.name} -- {line}")

    def unexplained(self) -> Iterator[str]:
        """Tasks that wait for others of which it is not known which, or not any more: of those that are shown first."""
        for name in islice(self.heaps[Heap.PENDING], MOST_EXPLAINED) if self.edges is None else ():
            known = self._explained.get(name)
            if known is None or not all(map(self._is_open, known[1])):
                yield name

    def explain(self, name: str, cause: Cause) -> None:
        """Why that one waits."""
        text = cause.text.removeprefix(f"{name} waits ")
        self._explained[name] = "" if text == cause.text else text, [each.task for each in cause.because if each.task]

    def _take_group(self, event: Event) -> None:
        fields = event.fields
        match event.kind:
            case Kind.GROUP_STARTED:
                self.since, self.note = event.at, ""
            case Kind.GROUP_READY:
                self.note = ""
            case Kind.GROUP_WAITING | Kind.GROUP_DISPATCHED | Kind.PEER_LOST | Kind.PEER_BACK:
                self.note = event_line(event, None) or ""
            case Kind.GROUP_FINISHED:
                self._until, self.note = event.at, ""
            case Kind.CANCEL_REQUESTED:
                reason = str(fields["reason"])
                because_of = f": {fields['because_of']} failed" if fields.get("because_of") else ""
                why = replaced(str(fields["replaced_by"])) if fields.get("replaced_by") else reason_text(reason)
                self._held.clear()
                self.note = f"stopping, {why}{because_of}"
                if reason == Abort.CANCELLED and (fields.get("count") or 1) > 1:
                    self.note = "stopping without clean-up: what still runs is killed"
            case _:
                pass

    def _take_task(self, row: Row, event: Event) -> None:
        fields = event.fields
        row.attempt = event.attempt or row.attempt
        match event.kind:
            case Kind.TASK_DISPATCHED:
                self._decide(row.name)
                row.since, row.took, row.note, row.last, row.due = None, None, "", "", None
                self._move(row, Status.RUNNING)
            case Kind.TASK_STARTED:
                row.since = event.at
                self._move(row, Status.RUNNING)
            case Kind.TASK_PAUSED | Kind.TASK_RESUMED:
                self._move(row, Status.RUNNING, Waiting.PAUSED if event.kind is Kind.TASK_PAUSED else None)
            case Kind.PEER_LOST | Kind.PEER_BACK:
                row.note = (event_line(event, None) or "") if event.kind is Kind.PEER_LOST else ""
            case Kind.TASK_READY:
                self._move(row, Status.PENDING, Waiting.SLOT)
            case Kind.TASK_WAITING:
                row.note = shortened(str(fields.get("why") or ""))
                self._move(row, Status.PENDING, str(fields["waiting"]))
            case Kind.TASK_HELD:
                row.took = None if row.since is None else max(0.0, event.at - row.since)
                row.note, row.last = cause_text(fields), self._tails.last_line(row.name, row.attempt)
                self._hold(row.name)
                self._move(row, Status.FAILED)
            case Kind.TASK_RETRYING:
                row.note = f"{fields['status']}{_colon(cause_text(fields))}"
                row.due = event.at + float(fields.get("seconds") or 0)
                self._move(row, Status.PENDING, Waiting.RETRY_DELAY)
            case Kind.TASK_SKIPPED:
                row.note = skip_reason(fields["reason"], fields.get("because_of"))
                self._move(row, Status.SKIPPED)
            case Kind.TASK_FINISHED:
                self._decide(row.name)
                row.note = cause_text(fields)
                if row.status not in _FAILURES:  # else it is over since its failure was held
                    row.took = None if row.since is None else max(0.0, event.at - row.since)
                    row.last = self._tails.last_line(row.name, row.attempt)
                self._move(row, Status(fields["status"]))
            case Kind.LOG_REDACTED:
                row.last = ""
            case _:
                pass

    def _hold(self, name: str) -> None:
        self._held[name] = None
        self.note = standstill(next(iter(self._held)))

    def _decide(self, name: str) -> None:
        """Somebody has, where its failure was held."""
        if name in self._held:
            del self._held[name]
            self.note = standstill(next(iter(self._held))) if self._held else ""

    def _move(self, row: Row, status: Status, waiting: str | None = None) -> None:
        self.counts[row.status] -= 1
        self.counts[status] += 1
        row.status, row.waiting = status, waiting
        heap = _heap(status, waiting)
        if heap is not row.heap or row.name not in self.heaps[heap]:
            self.heaps[row.heap].pop(row.name, None)
            self.heaps[heap][row.name] = row
            row.heap = heap

    # What is said of a row.

    def seconds(self, row: Row) -> float | None:
        """How long its attempt has run, or took."""
        if row.status is Status.RUNNING and row.since is not None:
            return max(0.0, self.now - row.since)
        return row.took

    def detail(self, row: Row) -> str:
        """Why it waits or how it ended, and what it printed last."""
        if row.status is Status.PENDING:
            return self._wait(row)
        last = self._tails.last_line(row.name, row.attempt) if row.status is Status.RUNNING else row.last
        attempt = f"attempt {row.attempt}" if row.status is Status.RUNNING and row.attempt > 1 else ""
        paused = "paused, waits to be told to go on" if row.waiting == Waiting.PAUSED else ""
        return " · ".join(part for part in (paused, attempt, row.note, last) if part)

    def _wait(self, row: Row) -> str:
        match row.waiting:
            case Waiting.SLOT:
                return "for a slot"
            case Waiting.RETRY_DELAY:
                left = max(0.0, (row.due or 0.0) - self.now)
                return f"for attempt {row.attempt + 1}, in {seconds_text(left)} · {row.note}"
            case Waiting.MATRIX:
                return "for other instances of its matrix"
            case Waiting.PEER_UNREACHABLE:
                return f"for a runner{_colon(row.note)}"
            case Waiting.DEPENDENCY | None:
                return self._dependencies(row)
            case _:
                return f"for {row.waiting.replace('_', ' ')}{_colon(row.note)}"

    def _dependencies(self, row: Row) -> str:
        if self.edges is None:
            return self._explained.get(row.name, ("for what it depends on", ()))[0]
        parents = [name for name in self.edges.get(row.name, ()) if self._is_open(name)]
        return f"for {listed(parents, most=MOST_PARENTS)}" if parents else ""

    def _is_open(self, name: str) -> bool:
        row = self.rows.get(name)
        return row is not None and (not row.status.terminal or name in self._held)

    def summary(self) -> Iterator[str]:
        """How many tasks are how, in words."""
        yield f"{self.over:,} of {self.total:,} done"
        counts = self.counts
        for number, word in (
            (self.failed, "failed"),
            (counts[Status.ABORTED], "aborted"),
            (counts[Status.SKIPPED], "skipped"),
            (counts[Status.RUNNING], "running"),
            (counts[Status.PENDING], "waiting"),
        ):
            if number:
                yield f"{number:,} {word}"
        if self.since is not None:
            yield seconds_text(max(0.0, (self.now if self._until is None else self._until) - self.since))


def seconds_text(seconds: float) -> str:
    """As `duration`, for what counts on: `0.3 s` and not `312 ms`."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _heap(status: Status, waiting: str | None) -> Heap:
    if status in _FAILURES:
        return Heap.FAILED
    if status is Status.RUNNING:
        return Heap.RUNNING
    if status is Status.PENDING:
        return Heap.PENDING if waiting in (Waiting.DEPENDENCY, Waiting.SLOT, Waiting.MATRIX) else Heap.WAITING
    return Heap.OVER


def _colon(text: str) -> str:
    return f": {text}" if text else ""
