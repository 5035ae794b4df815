"""What a running group remembers of its tasks and their attempts. Mutable, owned by one `GroupRun`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from runner.clock import Moment, Timer
from runner.dispatch.base import Dispatcher
from runner.engine.graph import build
from runner.engine.services import output_context
from runner.engine.targets import Targets
from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status, Waiting
from runner.model.task import Task, When
from runner.model.value import Value
from runner.store.base import AttemptRow, TaskRow

NO_OUTPUTS: Mapping[str, Value] = MappingProxyType({})
NO_TEXTS: Mapping[str, str] = MappingProxyType({})

Seal = Callable[[bytes, str], bytes]


class AttemptState:
    """One try. `cancel_at` and `cancel_grace` tell that, and how, it was asked to stop; `paused` that it was asked to pause;
    `sent` that its executor may know it; `told` that it was told of it in this life; `forwarded` that this is another runner, so that it holds no slot."""

    __slots__ = (
        "cancel_at", "cancel_grace", "dispatched", "executor", "force_timer", "forwarded", "handle", "id", "instance",
        "outcome", "paused", "runner", "sent", "sequence", "started_at", "started_event", "status", "told",
    )  # fmt: skip

    def __init__(self, id: AttemptId, executor: Dispatcher, dispatched: Moment, *, forwarded: bool) -> None:
        self.id = id
        self.executor = executor
        self.forwarded = forwarded
        self.runner = executor.name
        self.instance = executor.instance
        self.dispatched = dispatched
        self.status = Status.PENDING
        self.sent = False
        self.told = False
        self.handle: bytes | None = None
        self.sequence = 0
        self.started_at: float | None = None
        self.started_event = 0
        """The number of the event that tells of its start; 0 where a former engine has written that."""
        self.cancel_at: Moment | None = None
        self.cancel_grace: float | None = None
        self.paused = False
        self.outcome: Outcome | None = None
        self.force_timer: Timer | None = None

    def row(self) -> AttemptRow:
        return AttemptRow(
            group=self.id.group,
            task=self.id.task,
            attempt=self.id.attempt,
            status=self.status,
            runner=self.runner,
            instance=self.instance,
            handle=self.handle,
            sequence=self.sequence,
            dispatched=self.dispatched,
            started_at=self.started_at,
            finished_at=self.outcome.finished_at if self.outcome else None,
            cancel_at=self.cancel_at,
            cancel_grace=self.cancel_grace,
            paused=self.paused,
            outcome=codec.encode_outcome(self.outcome) if self.outcome else None,
        )

    @classmethod
    def restored(cls, row: AttemptRow, targets: Targets) -> AttemptState:
        id, executor = AttemptId(row.group, row.task, row.attempt), targets.named(row.runner)
        state = cls(id, executor, row.dispatched, forwarded=executor is not targets.here)
        state.runner = row.runner
        state.instance = row.instance
        state.status = row.status
        state.sent = True
        state.handle = row.handle
        state.sequence = row.sequence
        state.started_at = row.started_at
        state.cancel_at = row.cancel_at
        state.cancel_grace = row.cancel_grace
        state.paused = row.paused
        state.outcome = codec.decode_outcome(row.outcome) if row.outcome else None
        return state

    def disarm(self) -> None:
        if self.force_timer is not None:
            self.force_timer.cancel()
            self.force_timer = None


class Plan:
    """What a group's run begins with: its graph, and the states of its tasks. It takes a while to be made of a large group, so it
    may be made in any thread; each serves one run."""

    __slots__ = ("always", "graph", "matrices", "roots", "tasks")

    def __init__(self, group: TaskGroup, seal: Seal) -> None:
        self.graph = build(group.tasks)
        parents = self.graph.parents
        self.tasks = [TaskState(index, task, len(parents[index]), seal) for index, task in enumerate(group.tasks)]
        self.roots = [index for index, its in enumerate(parents) if not its]
        """The tasks that wait for none."""
        self.always = [index for index, task in enumerate(group.tasks) if task.when is When.ALWAYS]
        self.matrices: dict[str, list[int]] = {}
        """Of those that limit how many run, or end when one fails, the instances."""
        for index, task in enumerate(group.tasks):
            cell = task.matrix
            if cell is not None and (cell.max_parallel is not None or cell.fail_fast):
                self.matrices.setdefault(cell.of, []).append(index)


class TaskState(Struct, eq=False, gc=False):
    """One task. `missing` counts edges that are not terminal; `troubled`: it or an ancestor failed or errored. `group` is the id
    of one that runs.

    There may be very many, and Python's collector does not look at them: `retry_timer` is the one thing that leads back to them,
    and is let go of when it is over.
    """

    index: int
    task: Task
    missing: int
    seal: Seal
    group: str = ""
    status: Status = Status.PENDING
    waiting: Waiting | None = Waiting.DEPENDENCY
    reason: str | None = None
    because_of: str | None = None
    attempts: int = 0
    attempt: AttemptState | None = None
    outcome: Outcome | None = None
    outputs: Mapping[str, Value] = NO_OUTPUTS
    started_at: float | None = None
    finished_at: float | None = None
    retry_at: Moment | None = None
    retry_timer: Timer | None = None
    queued: bool = False
    troubled: bool = False

    @property
    def trouble(self) -> bool:
        return self.status in (Status.FAILED, Status.ERRORED)

    def row(self) -> TaskRow:
        outcome = self.outcome
        return TaskRow(
            group=self.group,
            name=self.task.name,
            index=self.index,
            status=self.status,
            waiting=self.waiting.value if self.waiting else None,
            reason=self.reason,
            because_of=self.because_of,
            attempt=self.attempts,
            outputs=codec.encode_values(self.outputs, self._sealed) if self.outputs else None,
            exit_code=outcome.exit_code if outcome else None,
            signal=outcome.signal if outcome else None,
            error=outcome.error if outcome else None,
            kill=json.dumps(dict(outcome.kill)).encode() if outcome and outcome.kill is not None else None,
            runner=self.attempt.runner if self.attempt else None,
            started_at=self.started_at,
            finished_at=self.finished_at,
            retry_at=self.retry_at,
        )

    def _sealed(self, plain: bytes) -> bytes:
        return self.seal(plain, output_context(self.group, self.task.name))

    def disarm(self) -> None:
        if self.retry_timer is not None:
            self.retry_timer.cancel()
            self.retry_timer = None
