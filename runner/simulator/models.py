"""What the reference model knows of a group and of its tasks while it plays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from runner.model.result import Status
from runner.model.task import Task
from runner.model.value import Value
from runner.simulator.rules import End, Imports
from runner.simulator.scenario import Signal, Submission
from runner.simulator.script import Course


@dataclass(slots=True)
class TaskModel:
    task: Task
    end: End = field(default_factory=End)
    ready: bool = False
    """Decided to run, or to run again, and waiting for a slot."""
    retry_at: float = math.inf
    course: Course | None = None
    """Its running attempt."""
    imports: Imports = field(default_factory=dict)
    held_at: float | None = None
    """When it failed, while somebody is to say what follows."""
    decide_at: float = math.inf
    chosen: bool = False
    """Somebody has tried it once more."""

    @property
    def terminal(self) -> bool:
        return self.end.status.terminal

    @property
    def forwarded(self) -> bool:
        """The other runner, which is always there, carries it out."""
        return self.task.forward is not None


@dataclass(slots=True)
class GroupModel:
    submission: Submission
    tasks: dict[str, TaskModel]
    inputs: dict[str, Value]
    status: Status = Status.RUNNING
    reason: str | None = None
    started_at: float = math.inf
    """When its first attempt was given a slot, or it ended without."""
    finished_at: float = 0.0
    abort: str | None = None
    abort_because_of: str | None = None
    abort_at: float = math.inf
    replaced_by: str | None = None
    turn_at: float = math.inf
    """When it began to be its turn, of the groups with its key; at once, where it has none."""
    cancels: int = 0
    calls: list[float | Signal] = field(default_factory=list)
    """The cancels and signals that are still to come."""
    failed_matrices: dict[str, str] = field(default_factory=dict)
    """Which instance of each was the first to fail, where that ends the others."""
    cleanup_over: bool = False
    timed_out: bool = False
    rested: float = 0.0
    """For how long it stood still before."""
    rests_since: float | None = None

    @property
    def paused(self) -> bool:
        return self.abort is None and any(task.held_at is not None for task in self.tasks.values())

    @property
    def due(self) -> float:
        """When its time will be over, if nothing more happens to it."""
        timeout = self.submission.group.timeout
        return math.inf if timeout is None or self.rests_since is not None else self.turn_at + self.rested + timeout

    def may_begin(self, task: TaskModel) -> bool:
        """One that is ready."""
        return task.ready and (task.chosen or not self.paused)
