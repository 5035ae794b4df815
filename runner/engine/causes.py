"""What explains one task of a group, and what that follows from."""

from __future__ import annotations

import json

from runner.clock import rfc3339
from runner.engine import again, endings, turns
from runner.engine.abort import CLOSING_CANCELS
from runner.engine.abroad import WHOLE_GROUP
from runner.engine.document import Document
from runner.engine.facts import TROUBLE, Facts, Live
from runner.model import codec
from runner.model.explanation import Cause
from runner.model.result import Abort, Outcome, Skip, Status, Waiting
from runner.model.task import Task, When
from runner.model.words import counted, duration, listed
from runner.store.base import AttemptRow, GroupRow, StoreReader, TaskRow

MOST_CAUSES = 50
"""So many tasks at most are explained in one answer; further ones are told shortly."""
DEEPEST = 8
"""From there on a chain is followed to its end, and what lies between is counted."""
MOST_OF_A_KIND = 10
MOST_ATTEMPTS = 10
MOST_LOOKED_AT_OF_MATRIX = 200
"""So many running tasks are looked at, to find those of a matrix."""


class TaskCauses:
    """Of one answer, in which each task is explained once."""

    def __init__(self, store: StoreReader, row: GroupRow, document: Document, live: Live, now: float) -> None:
        self._store = store
        self._row = row
        self._tasks = document.group.tasks
        self._document = document.group
        self._graph = document.graph
        self._live = live
        self._now = now
        self._left = MOST_CAUSES
        self._told: set[int] = set()
        self._is_told_lost = False
        self._told_away: set[str] = set()
        self.facts = Facts(store, row, document)

    def lost(self) -> list[Cause]:
        """That nobody carries the group out, where it is so; said once."""
        if self._live.held or self._is_told_lost:
            return []
        self._is_told_lost = True
        return [
            Cause(
                kind="runner_lost",
                text="nothing carries it out any more: its runner is gone, and what it ran has been ended with it; "
                "started again with the same id, it is taken up",
            )
        ]

    def abort(self) -> Cause:
        """Why the group was ended early."""
        row = self._row
        at = None if row.abort_at is None else row.abort_at.wall
        when = "" if at is None else f" at {rfc3339(at)[:19]}Z"
        match row.abort:
            case Abort.FAIL_FAST:
                index = self._graph.index.get(row.abort_because_of or "")
                because = () if index is None else (self.task(index),)
                text = f"`failFast` is set and {row.abort_because_of} did not succeed: what ran was ended{when}"
            case Abort.GROUP_TIMEOUT:
                limit = self._document.timeout
                text = f"the group's `timeout`{'' if limit is None else f' of {duration(limit)}'} was over{when}"
                because = ()
            case Abort.CANCELLED if not row.abort_count:
                text = (
                    f"the runner that carries it out ended the group, which no caller of this one had asked for{when}"
                )
                because = ()
            case Abort.REPLACED:
                return turns.replaced(row)
            case _:
                twice = ", and again, which ends clean-up as well" if row.abort_count >= CLOSING_CANCELS else ""
                text = f"{self._live.cancelled_by or 'a caller'} cancelled the group{when}{twice}"
                because = ()
        return Cause(kind=str(row.abort), text=text, at=at, because=because)

    def task(self, index: int, depth: int = 0) -> Cause:
        """What has become of a task and why, `depth` steps away from what was asked for."""
        task = self._tasks[index]
        row = self.facts.row(index)
        status = self.facts.status(index)
        if index in self._told:
            return Cause(kind="see", text=f"{task.name} {self._short(index)}, as told above", task=task.name)
        self._told.add(index)
        self._left -= 1
        if depth >= DEEPEST or self._left <= 0:
            end, steps = self.facts.end_of_chain(index)
            if steps > 0 and end not in self._told:
                text = f"{task.name} {self._short(index)}, and {counted(steps, 'step')} on:"
                return Cause(kind="further", text=text, task=task.name, because=(self._plain(end),))
            return self._plain(index)
        match status:
            case Status.SKIPPED:
                assert row is not None, "what is over has a row"
                return self._skipped(index, row, depth)
            case Status.PENDING:
                return self._pending(index, row, depth)
            case Status.RUNNING:
                assert row is not None, "what runs has a row"
                return self._running(index, row)
            case _:
                assert row is not None, "what is over has a row"
                return self._over(index, row, depth)

    def _over(self, index: int, row: TaskRow, depth: int) -> Cause:
        task, outcome = self._tasks[index], _outcome(row)
        because = [*self._placed(task, row), *self._called_for(index, depth), *self._tries(task, row.attempt - 1)]
        text = endings.told(task, outcome, row.attempt)
        if row.cached:
            former = again.former_of(self._store, self._row.id)
            source = "a cache" if former is None else f"the group {former}, where it {text}"
            text = f"was not run: its outputs are those of {source}"
        if outcome.kill is not None and (killed := endings.killing(outcome.kill)):
            because.append(Cause(kind="kill", text=killed, task=task.name, attempt=row.attempt))
        if row.status in TROUBLE:
            repeated = None if self._row.abort else endings.not_repeated(task, row.attempt, outcome)
            if repeated is not None:
                because.append(Cause(kind="not_repeated", text=repeated, task=task.name))
            if task.allow_failure:
                said = "`allow_failure` is set: what depends on it goes on, and the group may succeed all the same"
                because.append(Cause(kind="allowed", text=said, task=task.name))
        by_matrix = self._ended_by_matrix(task, row, depth) if row.status is not Status.SUCCESS else []
        because += by_matrix
        if row.status is Status.ABORTED and self._row.abort is not None and not by_matrix:
            because.append(self.abort())
        on = _on(row) if self._is_elsewhere(task) else ""
        return Cause(
            kind=row.status.value, text=f"{task.name}{on} {text}", task=task.name, attempt=row.attempt or None,
            at=row.finished_at, because=tuple(because),
        )  # fmt: skip

    def _running(self, index: int, row: TaskRow) -> Cause:
        task = self._tasks[index]
        attempts = self._store.attempts(self._row.id, task.name)
        last = attempts[-1] if attempts else None
        because = [
            *self.lost(),
            *self._placed(task, row),
            *self._called_for(index, 0),
            *self._tries(task, row.attempt - 1),
        ]
        number = f", attempt {row.attempt}" if row.attempt > 1 else ""
        is_held = self._live.held
        if is_held and last is not None and last.paused:
            because.append(Cause(kind="paused", text="it was paused, and waits to be told to go on", task=task.name))
        if is_held and last is not None and last.cancel_at is not None:
            grace = "" if not last.cancel_grace else f"; what is alive {duration(last.cancel_grace)} later is killed"
            stop = Cause(kind="stopping", text=f"it was told to end{grace}", task=task.name, at=last.cancel_at.wall)
            because.append(stop if self._row.abort is None else self._caused(stop, self.abort()))
        if row.runner is not None:
            because += self.away(row.runner)
        on = _on(row) if self._is_elsewhere(task) else ""
        text = f"{task.name} {self.runs(row.started_at, on)}{number}"
        return Cause(
            kind=row.status.value, text=text, task=task.name, attempt=row.attempt or None, at=row.started_at, because=tuple(because)
        )  # fmt: skip

    def _pending(self, index: int, row: TaskRow | None, depth: int) -> Cause:
        task = self._tasks[index]
        because = self.lost()
        waiting, at = self.facts.waiting(index), None
        kind: str = waiting.value
        match waiting:
            case Waiting.RETRY_DELAY:
                assert row is not None, "what was begun has a row"
                at = None if row.retry_at is None else row.retry_at.wall
                due = (
                    ""
                    if at is None or not self._live.held
                    else f", which begins in {duration(max(0.0, at - self._now))}"
                )
                text = f"waits for its attempt {row.attempt + 1} of {task.retry.attempts}{due}"
                because += self._tries(task, row.attempt)
            case Waiting.PEER_UNREACHABLE:
                why = self._live.why(index) or self._live.why(WHOLE_GROUP)
                text = f"waits for a runner: {why}" if why else "waits for a runner that is there and takes it"
                because += self._unreached(task)
            case Waiting.PAUSED:
                text = "waits until its group goes on"
                because += [self.task(held, depth + 1) for held in self._held_ones()]
            case Waiting.DECISION:
                text = turns.DECISION
                because += self._tries(task, 0 if row is None else row.attempt)
            case Waiting.DEPENDENCY:
                open_ones, unknown = self.facts.open_parents(index), self.facts.unknown_parents(index)
                if open_ones:
                    text = f"waits for {listed([self._tasks[parent].name for parent in open_ones])}"
                    text += (
                        f", and perhaps for some of {unknown:,} more tasks, too many to be looked at" if unknown else ""
                    )
                    because += [self.task(parent, depth + 1) for parent in open_ones[:MOST_OF_A_KIND]]
                elif unknown:
                    text = f"waits for some of {unknown:,} tasks, too many to be looked at"
                else:
                    kind, text = "deciding", "is about to be decided: all that it waited for is over"
            case Waiting.SLOT:
                text = turns.slot(self._live.load, is_leaving=self._live.leaving)
            case Waiting.MATRIX:
                text, others = self._turn(task)
                because += others
            case Waiting.CONCURRENCY:
                text = "waits for the turn of its group"
                because += filter(None, [turns.cause(self._row, self._live.line)])
            case _:
                text = f"waits ({waiting.value})"
        if self._row.abort is not None:
            because.append(self.abort())
        return Cause(kind=kind, text=f"{task.name} {text}", task=task.name, at=at, because=tuple(because))

    def _held_ones(self) -> list[int]:
        """The first task for whose failure the group stands still."""
        index = self._graph.index.get(self._row.paused_by or "")
        return [] if index is None else [index]

    def _skipped(self, index: int, row: TaskRow, depth: int) -> Cause:
        task, parent = self._tasks[index], row.because_of
        because: list[Cause] = []
        match row.reason:
            case Skip.CONDITION_FALSE | Skip.NO_FAILURE if task.joins:
                text = f"so were all {len(self._graph.parents[index]):,} instances of it"
            case Skip.CONDITION_FALSE:
                text = f"its `if` is false: {endings.quoted(task.condition)}"
            case Skip.NO_FAILURE:
                text = "it runs only when something before it fails (`when: failure`), and nothing did"
            case Skip.NO_DATA:
                wanted = listed([f"`{item.variable}`" for item in task.imports if item.task == parent])
                text = f"it imports {wanted} of {parent}, which gave no value{self._no_default(index, parent)}"
            case Skip.DEPENDENCY_SKIPPED:
                text = f"{parent}, which it depends on, was skipped"
            case Skip.DEPENDENCY_FAILED:
                text = f"{parent}, which it depends on, did not succeed"
            case Skip.FAIL_FAST:
                text = f"the `failFast` of its matrix is set and {parent} failed"
            case Skip.GROUP_ABORTED:
                text = "the group was ended before it could begin"
                because.append(self.abort())
            case _:
                text = str(row.reason)
        if parent is not None and row.reason != Skip.GROUP_ABORTED:
            because.append(self.task(self._graph.index[parent], depth + 1))
        return Cause(
            kind=row.reason or Status.SKIPPED.value, text=f"{task.name} was skipped: {text}", task=task.name, at=row.finished_at, because=tuple(because)
        )  # fmt: skip

    def _no_default(self, index: int, parent: str | None) -> str:
        """Why the defaults of what is imported did not help."""
        exports = {} if parent is None else {item.name: item for item in self._tasks[self._graph.index[parent]].exports}
        wanted = [exports[item.variable] for item in self._tasks[index].imports if item.task == parent]
        if any(export.default is None and not export.confidential for export in wanted):
            return ", and there is no default"
        if all(export.default is None for export in wanted):
            return ""  # those of confidential ones are not looked at
        return "; a default would count only where that was skipped by its own conditions, or its failure is allowed"

    def _turn(self, task: Task) -> tuple[str, list[Cause]]:
        """Of an instance that waits for others of its matrix: and which are under way."""
        cell = task.matrix
        assert cell is not None, "who waits for its matrix is of one"
        most = (
            ""
            if cell.max_parallel is None
            else f", of which {cell.max_parallel:,} at most may be under way (`max_parallel`)"
        )
        running = self._store.tasks_in(self._row.id, (Status.RUNNING,), MOST_LOOKED_AT_OF_MATRIX)
        others = [row.index for row in running if (other := self._tasks[row.index].matrix) and other.of == cell.of]
        text = f"waits for its turn among the instances of {cell.of}{most}"
        return text, [self.task(index, 1) for index in others[:MOST_OF_A_KIND]]

    def _ended_by_matrix(self, task: Task, row: TaskRow, depth: int) -> list[Cause]:
        """That it was to end because another instance had failed."""
        index = None if task.matrix is None or row.because_of is None else self._graph.index.get(row.because_of)
        if index is None or row.because_of == self._row.abort_because_of:
            return []
        text = f"the `failFast` of its matrix is set and {row.because_of} failed"
        return [self._caused(Cause(kind=Abort.FAIL_FAST.value, text=text, task=task.name), self.task(index, depth + 1))]

    def _placed(self, task: Task, row: TaskRow) -> list[Cause]:
        """Why it is where it is."""
        if row.runner is None or task.forward is None or self._document.forward is not None:
            return []
        return [
            Cause(kind="placed", text=f"it was given to {row.runner}, {endings.asked_by(task.forward)}", task=task.name)
        ]

    def _called_for(self, index: int, depth: int) -> list[Cause]:
        """What a `when: failure` task runs for."""
        task = self._tasks[index]
        if task.when is not When.FAILURE:
            return []
        troubled = self.facts.trouble_before(index)
        if troubled is None:
            return []
        text = f"it runs when something before it fails (`when: failure`), and {self._tasks[troubled].name} did"
        return [self._caused(Cause(kind="called_for", text=text, task=task.name), self.task(troubled, depth + 1))]

    def _tries(self, task: Task, last: int) -> list[Cause]:
        """The attempts up to `last`."""
        if last < 1:
            return []
        rows = [row for row in self._store.attempts(self._row.id, task.name) if row.attempt <= last]
        causes = [self._try(task, row) for row in rows[-MOST_ATTEMPTS:]]
        rest = len(rows) - MOST_ATTEMPTS
        return [Cause(kind="more", text=f"{counted(rest, 'attempt')} before"), *causes] if rest > 0 else causes

    def _try(self, task: Task, row: AttemptRow) -> Cause:
        outcome = codec.decode_outcome(row.outcome) if row.outcome else Outcome(status=row.status)
        on = f" on {row.runner}" if self._is_elsewhere(task) else ""
        return Cause(
            kind="attempt", text=f"attempt {row.attempt}{on} {endings.told(task, outcome)}", task=task.name, attempt=row.attempt,
            at=outcome.finished_at,
        )  # fmt: skip

    def away(self, runner: str) -> list[Cause]:
        """That a runner cannot be reached, where it is so."""
        peer = self._live.peers.get(runner.partition("/")[0])
        if peer is None or peer.there:
            return []
        if peer.name in self._told_away:
            return [Cause(kind="peer_lost", text=f"{peer.name} has not been reached, as told above", at=peer.since)]
        self._told_away.add(peer.name)
        limit = self._live.lost_after
        given_up = "" if limit is None else f", and it is given up after {duration(limit)} without contact"
        trouble = f" ({peer.trouble})" if peer.trouble else ""
        text = f"{peer.name} has not been reached for {duration(max(0.0, self._now - peer.since))}{trouble}: what runs there goes on{given_up}"
        return [Cause(kind="peer_lost", text=text, at=peer.since)]

    def _unreached(self, task: Task) -> list[Cause]:
        """What keeps the runners that it may be given to away, for who may know that."""
        forward = task.forward or self._document.forward
        wanted = "" if forward is None or forward.to is None else forward.to.partition("/")[0]
        away = [
            peer
            for peer in self._live.peers.values()
            if not peer.there and peer.trouble and (peer.name == wanted or not wanted or "{{" in wanted)
        ]
        return [
            Cause(kind="peer_lost", text=f"{peer.name} is away: {peer.trouble}", at=peer.since)
            for peer in away[:MOST_OF_A_KIND]
        ]

    def _plain(self, index: int) -> Cause:
        """Without what explains it."""
        task, row = self._tasks[index], self.facts.row(index)
        status = self.facts.status(index)
        return Cause(
            kind=status.value, text=f"{task.name} {self._short(index)}", task=task.name, at=None if row is None else row.finished_at
        )  # fmt: skip

    def _short(self, index: int) -> str:
        row, status = self.facts.row(index), self.facts.status(index)
        if status is Status.PENDING or row is None:
            return f"waits ({self.facts.waiting(index).value})"
        if status is Status.SKIPPED:
            return f"was skipped ({row.reason})"
        if status is Status.RUNNING:
            return self.runs(None)
        return endings.told(self._tasks[index], _outcome(row))

    # What is said.

    def _is_elsewhere(self, task: Task) -> bool:
        return task.forward is not None or self._document.forward is not None

    def runs(self, since: float | None, on: str = "") -> str:
        """E.g. `runs on onprem for 3.2 s`, of what has begun and not ended."""
        if not self._live.held:
            return f"had begun{on} and not ended"
        return f"runs{on}" + ("" if since is None else f" for {duration(max(0.0, self._now - since))}")

    @staticmethod
    def _caused(cause: Cause, by: Cause) -> Cause:
        return Cause(
            kind=cause.kind, text=cause.text, task=cause.task, attempt=cause.attempt, at=cause.at, because=(by,)
        )


def _outcome(row: TaskRow) -> Outcome:
    return Outcome(
        status=row.status, reason=row.reason, exit_code=row.exit_code, signal=row.signal, error=row.error,
        kill=json.loads(row.kill) if row.kill else None, started_at=row.started_at, finished_at=row.finished_at,
    )  # fmt: skip


def _on(row: TaskRow) -> str:
    return "" if row.runner is None else f" on {row.runner}"
