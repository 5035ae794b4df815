"""One group on its way: which task is decided, started, retried, and what becomes of the group.

A state machine without time or input of its own: the engine feeds it reports, grants of slots, timers and cancels; what it changes
it marks in the journal, and what it wants done it queues there. `attempts.py` speaks with the executor, `forwarding.py` sends tasks to
other runners, `entrusted.py` the group as a whole, `retry.py` tries them again, `abort.py` brings a group to an early end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from runner.dispatch.base import Dispatcher
from runner.engine import deciding, guests, outputs, retry, rules, variables
from runner.engine.abort import Abortion
from runner.engine.attempts import Attempts, release
from runner.engine.entrusted import Entrusted
from runner.engine.forwarding import Forwarding
from runner.engine.frontier import Frontier
from runner.engine.lanes import Turn
from runner.engine.matrices import Matrices
from runner.engine.pace import EFFORT_OF_ONE
from runner.engine.pausing import Pausing
from runner.engine.services import Services
from runner.engine.state import NO_TEXTS, AttemptState, Plan, TaskState
from runner.model import trace
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.result import Abort, Outcome, Reason, Skip, Status, Waiting
from runner.model.task import Task
from runner.model.value import Bindings, Value
from runner.store.base import GroupRow

END_PATIENCE_SECONDS = 60.0
"""How long the end of a group that came by itself may take to be written, before it counts as lost."""


class GroupRun:
    def __init__(
        self, row: GroupRow, group: TaskGroup, inputs: Mapping[str, Value], services: Services, plan: Plan | None = None
    ) -> None:
        """`plan` is that of the group, of which there was no run yet; None: it is made."""
        plan = plan or Plan(group, services.sealer.seal)
        self.group = group
        self.graph = plan.graph
        self.services = services
        self.id = row.id
        self.caller = row.caller
        self.document_bytes = len(row.document) + len(row.inputs)
        self.abortion = Abortion(self)
        self.attempts = Attempts(self)
        self.forwarding = Forwarding(self)
        self.entrusted = None if group.forward is None else Entrusted(self, group.forward)
        self.last_event = 1
        self._row = row
        self._given = guests.bindings(inputs)
        self._lodging = guests.lodging(inputs)
        self.inputs = guests.own_inputs(inputs)
        self.turn = Turn(self, row)
        self.pausing = Pausing(self, row)
        self.output_bytes = 0
        self.tasks = plan.tasks
        self.frontier = Frontier(plan)
        self.plan = plan
        self.matrices = Matrices(self)
        for state in self.tasks:
            state.group = row.id
        self.running: set[int] = set()
        """The tasks that are."""
        self.open = len(self.tasks)
        """How many tasks are not terminal."""
        self.ends: set[Status] = set()
        """How tasks have ended that count for the group."""
        self.told_by = math.inf
        """When whoever waits for the end has to be told of it, in seconds of the boot clock, also if it cannot be written."""

    # What the engine asks and tells.

    @property
    def status(self) -> Status:
        return self._row.status

    @property
    def workspace(self) -> str:
        return self._row.workspace

    @property
    def public_id(self) -> str:
        """What templates call it: of a group that another runner has forwarded here, as there."""
        return self._row.public_id if self._lodging is None else self._lodging.group_id

    @property
    def submitter(self) -> str:
        """For whom other runners carry something of it out."""
        return self.caller if self._lodging is None else self._lodging.on_behalf_of

    @property
    def hops(self) -> tuple[str, ...]:
        """The runners that it came by."""
        return () if self._lodging is None else self._lodging.hops

    @property
    def is_elsewhere(self) -> bool:
        """Another runner decides what becomes of its tasks, or is to be found first."""
        return self.entrusted is not None and self.entrusted.is_elsewhere

    @property
    def trace(self) -> trace.Trace:
        return trace.of(self.id, self._row.accepted, self._row.traceparent)

    def traceparent(self, attempt: AttemptId) -> str:
        """What the attempt passes on; empty where nobody asks for a trace."""
        if not (self._row.traceparent or self.services.traced):
            return ""
        return self.trace.traceparent(attempt.task, attempt.attempt)

    def row(self) -> GroupRow:
        return self.pausing.into(self.turn.into(self.abortion.into(self._row)))

    @property
    def idle(self) -> bool:
        """Terminal, and no attempt is left that may still report."""
        return self.status.terminal and not self.attempts.unconfirmed

    def leave(self) -> list[TaskState]:
        """To be called when nobody comes back to it: it is in no cycle any more, which only Python's collector would find. Its tasks, which
        may be many, are for the caller to let go of."""
        del self.abortion, self.attempts, self.forwarding, self.matrices, self.pausing, self.turn
        self.entrusted = None
        return self.tasks

    def start(self, *, fresh: bool = False) -> None:
        """Decide what has no edges that are not over, once it is its turn; of a `fresh` run nothing is. Deadlines count from acceptance."""
        if self.entrusted is None or self.entrusted.is_here:
            self.turn.join()
        if not (self.is_elsewhere or self.turn.is_held):
            self.frontier.begin(fresh=fresh)
            if not fresh:
                self.matrices.begin()
        self.abortion.arm()
        if self.entrusted is not None:
            self.entrusted.proceed()
        self.settle()

    def decide_here(self) -> None:
        """It is not elsewhere any more, or it is its turn. What follows is for `settle`."""
        if not self.turn.is_held:
            self.frontier.begin(fresh=False)
            self.matrices.begin()

    def granted(self, index: int) -> None:
        """A slot is free for this task, which waits for it: dispatch its next attempt."""
        state = self.tasks[index]
        state.queued = False
        if self.is_closed_for(state):
            self.end_early(state)
            self.settle()
            return
        self.begin_attempt(state, self.services.targets.here)

    def begin_attempt(self, state: TaskState, executor: Dispatcher) -> None:
        """Dispatch the next attempt of a task of which nothing else is missing."""
        if self._row.status is Status.PENDING:
            self.begin()
        state.attempts += 1
        state.status = Status.RUNNING
        self.running.add(state.index)
        state.waiting = None
        state.outcome = None
        self.services.journal.mark(state)
        self.attempts.begin(state, executor)

    def not_granted(self, index: int) -> None:
        """The slots of this turn are given out; a task that became ready in it may have to wait for the next."""
        state = self.tasks[index]
        if state.queued and not self.is_closed_for(state):
            self.event(Kind.TASK_READY, state, waiting=Waiting.SLOT.value)
            if state.attempts:
                self.services.journal.mark(state)  # its row tells that it waits for its retry

    # Deciding.

    def settle(self) -> None:
        """End what has to, and decide all that can be decided, lowest index first, but only as much as is left of this turn; then
        see whether the group is over. Whoever is killed in between decides the rest anew."""
        self.go_on(self.services.pace.left)

    def go_on(self, share: int) -> None:
        """The same, with about the effort `share`."""
        if self.is_elsewhere or self.turn.is_waiting:
            return
        pace = self.services.pace
        until = max(0, pace.left - share)
        while pace.left > until and (effort := self._step(pace.left - until)):
            pace.spend(effort)
        has_more = bool(self.frontier) and not self.pausing.is_paused
        if has_more or self.abortion.is_ending or self.matrices.is_ending:
            pace.later(self)
            return
        if self.open == 0 and not self._row.status.terminal:
            self.finish()

    def _step(self, most: int) -> int:
        """Do some of it, with about the effort `most`; how much it was, 0 where nothing is left."""
        is_paused = self.pausing.is_paused
        if self.frontier.is_telling and not is_paused:
            return self.frontier.tell(most)
        if self.abortion.is_ending:
            return self.abortion.end_some(most)
        if self.matrices.is_ending:
            return self.matrices.end_some(most)
        state = None if is_paused else self.frontier.take()
        if state is None:
            return 0
        if state.status is not Status.PENDING:
            return 1
        deciding.decide(self, state)
        return self.effort(state)

    def effort(self, state: TaskState) -> int:
        """What it takes to decide the task, or to end it: as in `pace`. Each edge is looked at."""
        return EFFORT_OF_ONE + len(self.graph.parents[state.index])

    def is_closed_for(self, state: TaskState) -> bool:
        """Whether a task that does not run may not begin any more."""
        return self.abortion.closes(state.task) or self.matrices.ends(state.task)

    def end_early(self, state: TaskState) -> None:
        """One that this is so for."""
        (self.abortion if self.abortion.closes(state.task) else self.matrices).end(state)

    def enqueue(self, state: TaskState) -> None:
        if state.waiting in (Waiting.PEER_UNREACHABLE, Waiting.MATRIX):
            self.services.journal.mark(state)  # its row says so
        state.waiting = Waiting.SLOT
        state.queued = True
        self.services.slots.add(self.caller, self.id, state.index)
        self.services.journal.wake()

    def skip(self, state: TaskState, reason: Skip, because_of: str | None = None) -> None:
        state.because_of = because_of
        state.reason = reason.value
        self._close(state, Status.SKIPPED)
        self.event(Kind.TASK_SKIPPED, state, reason=reason.value, because_of=because_of)

    # Ending.

    def ended(self, state: TaskState, attempt: AttemptState, outcome: Outcome) -> None:
        """An attempt is over: record it, then retry or conclude. What follows for others is for `settle`."""
        attempt.disarm()
        self.attempts.over(attempt)
        self.running.discard(state.index)
        may_again = self.abortion.allows_retry(state.task) and not self.matrices.ends(state.task)
        again = may_again and retry.wanted(state.task.retry, state.attempts, outcome)
        if not again:
            outcome = outputs.admitted(self, outcome)
        if outcome.status is Status.ABORTED:
            reason, state.because_of = self._stopped_for(state.task)
            outcome = replace(outcome, reason=reason or outcome.reason)
        elif outcome.status is not Status.SUCCESS and not again:
            state.because_of = self.matrices.because_of(state.task)  # it was told to end, and did so in its own way
        attempt.status = outcome.status
        attempt.outcome = outcome
        if again:
            retry.later(self, state, outcome)
        elif not self.pausing.holds(state, outcome):
            self.conclude(state, outcome)

    def _stopped_for(self, task: Task) -> tuple[str | None, str | None]:
        """Why an attempt at the task was stopped, and because of which task."""
        if self.matrices.ends(task) and not self.abortion.closes(task):
            return Abort.FAIL_FAST.value, self.matrices.because_of(task)
        return self.abortion.reason_for(task), self.abortion.because_of

    def conclude(self, state: TaskState, outcome: Outcome) -> None:
        """The task is over with this outcome of its last attempt."""
        state.outcome = outcome
        state.outputs = outcome.outputs
        state.reason = outcome.reason
        state.finished_at = outcome.finished_at
        self._close(state, outcome.status)
        self.event(
            Kind.TASK_FINISHED, state, status=outcome.status.value, reason=outcome.reason, exit_code=outcome.exit_code,
            signal=outcome.signal, error=outcome.error, because_of=state.because_of,
        )  # fmt: skip
        if state.trouble and not state.task.allow_failure and not self.is_elsewhere:
            self.matrices.failed(state)  # first: an abort goes on with deciding
            if self.group.fail_fast:
                self.abortion.begin(Abort.FAIL_FAST, state.task.name)

    def refuse(self, state: TaskState, reason: Reason, error: str) -> None:
        """The task is `errored`, for its next attempt cannot even begin."""
        now = self.services.clock.now().wall
        self.conclude(state, Outcome(status=Status.ERRORED, reason=reason, error=error, finished_at=now))

    def _close(self, state: TaskState, status: Status) -> None:
        if state.queued:
            state.queued = False
            self.services.slots.drop(self.caller, self.id, state.index)
        if state.task.forward is not None:
            self.services.abroad.waits_no_more(self, state.index)
        state.disarm()
        state.retry_at = None
        state.status = status
        state.waiting = None
        parents = self.graph.parents[state.index]
        state.troubled = state.trouble or any(self.tasks[index].troubled for index in parents)
        self.count(state)
        self.services.journal.mark(state)
        self.frontier.over(state)
        self.matrices.over(state)

    def count(self, state: TaskState) -> None:
        """A task that is over."""
        self.open -= 1
        if not state.task.allow_failure and not rules.is_ended_by_matrix(state):
            self.ends.add(state.status)

    def begin(self) -> None:
        """Its first task is under way."""
        self._row = replace(self._row, status=Status.RUNNING, started_at=self.services.clock.now().wall)
        self.event(Kind.GROUP_STARTED)
        self.services.journal.mark(self)

    def finish(self) -> None:
        """All of its tasks are over."""
        if self._row.status is Status.PENDING:
            self.begin()
        self.abortion.disarm()
        status, reason = rules.verdict(self.abortion.reason, self.ends)
        now = self.services.clock.now()
        self._row = replace(self._row, status=status, reason=reason, finished_at=now.wall)
        self.told_by = now.boot + (END_PATIENCE_SECONDS if self.abortion.reason is None else 0.0)
        self.event(Kind.GROUP_FINISHED, status=status.value, reason=reason)
        self.services.journal.mark(self)
        self.services.journal.hurry()
        self.turn.leave()
        # It knows the group's id alone, so that it does not keep the rest.
        self.services.journal.when_durable(partial(release, self.services, self.id, sorted(self.attempts.runners)))

    def event(self, kind: Kind, state: TaskState | None = None, attempt: int | None = None, /, **fields: Any) -> None:
        """`attempt` is the number of the one that is meant, where it may be another one than the task's last."""
        self.last_event += 1
        self.services.journal.event(
            Event(
                group=self.id,
                number=self.last_event,
                at=self.services.clock.now().wall,
                kind=kind,
                task=state.task.name if state else None,
                attempt=attempt or (state.attempts or None if state else None),
                fields={name: value for name, value in fields.items() if value is not None},
            )
        )

    def task(self, name: str) -> TaskState:
        return self.tasks[self.graph.index[name]]

    def bindings(self, state: TaskState, attempt: int) -> Bindings:
        """What the templates of an attempt at the task may name."""
        if self._given is not None:
            return replace(self._given, matrix=state.task.matrix.values) if state.task.matrix else self._given
        imports = variables.imported(state.task, self.source)
        assert not isinstance(imports, str), "a task that was decided has its imports"
        return self.bindings_with(state, imports, attempt)

    def source(self, name: str) -> variables.Source:
        state = self.task(name)
        return variables.Source(state.task, state.status, state.reason, state.outputs)

    def bindings_with(self, state: TaskState, imports: Mapping[str, Mapping[str, Value]], attempt: int) -> Bindings:
        return Bindings(
            imports=imports,
            inputs=self.inputs,
            env=self.group.env,
            matrix=state.task.matrix.values if state.task.matrix else NO_TEXTS,
            group_id=self.public_id,
            group_name=self.group.name,
            task_name=state.task.name,
            task_attempt=attempt,
        )
