"""What happens in a simulated world, as data: who submits what when, what attempts do, and who crashes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from runner.model.dispatch import AttemptId
from runner.model.group import TaskGroup
from runner.simulator.script import Script

DEFAULT_SCRIPT = Script()

FEW_AT_ONCE = 2
ALL_AT_ONCE = 10_000

PEER = "peer"
"""The other runner of a world."""

PEER_LABELS: Mapping[str, str] = {"site": "there", "os": "linux"}
HERE_LABELS: Mapping[str, str] = {"site": "here", "os": "linux"}

SECRET_MARK = "hush-"
"""Confidential values of a scenario begin with it, so that they can be looked for where they must not be."""


class Signal(Struct, frozen=True, kw_only=True):
    """A client sends `pause`, `start` or `destroy` to a task, `at` seconds from the beginning of the world."""

    at: float
    task: str
    signal: str


class Submission(Struct, frozen=True, kw_only=True):
    """A client's part. `at` and `cancels` in seconds from the beginning of the world. The group names its id."""

    at: float
    group: TaskGroup
    caller: str = ""
    inputs: Mapping[str, str] = {}
    cancels: tuple[float, ...] = ()
    signals: tuple[Signal, ...] = ()
    pauses: bool = False
    """It stands still when a task has failed."""

    @property
    def is_disturbed(self) -> bool:
        """As in `Scenario.is_disturbed`, but for other groups."""
        return bool(_ends_itself(self.group) or self.group.timeout is not None or self.cancels or self.signals)

    @property
    def lane(self) -> tuple[str, str] | None:
        """Who has submitted it, and its concurrency key; None where it has none. Of templates scenarios use one."""
        if self.group.concurrency is None:
            return None
        return self.caller, self.group.concurrency.key.replace("{{ .labels.team }}", self.group.labels["team"])

    @property
    def replaces(self) -> bool:
        return self.group.concurrency is not None and self.group.concurrency.cancel_previous

    @property
    def id(self) -> str:
        assert self.group.id is not None, "a client names its groups, else it could not repeat a submission"
        return self.group.id


class Scenario(Struct, frozen=True, kw_only=True):
    """Attempts without a script of their own succeed at once."""

    submissions: tuple[Submission, ...]
    scripts: Mapping[AttemptId, Script] = {}
    max_parallel: int = 8
    duplicates: bool = False
    """Reports are delivered more than once."""
    reports_die: bool = False
    """What the executor has to report dies with the engine; what it runs does not."""
    lost_after: float = 20.0
    """How many seconds the other runner may be silent before what it carries out is given up."""
    ties: bool = False
    """Much happens at the same instant, and nobody says in which order."""

    def beside(self, submission: Submission) -> list[Submission]:
        """Those with its concurrency key, itself too."""
        of_lane = [item for item in self.submissions if item.lane is not None and item.lane == submission.lane]
        return of_lane or [submission]

    def is_disturbed(self, submission: Submission) -> bool:
        """Whether something may cut the group short or hold it up, so that the moment decides what becomes of its tasks."""
        others = (item for item in self.beside(submission) if item is not submission)
        return submission.is_disturbed or any(item.replaces for item in others)

    def script(self, id: AttemptId) -> Script:
        return self.scripts.get(id, DEFAULT_SCRIPT)

    @property
    def forwards(self) -> bool:
        """Whether another runner has a part in it."""
        groups = [item.group for item in self.submissions]
        return any(group.forward is not None or any(task.forward for task in group.tasks) for group in groups)

    @property
    def slots_matter(self) -> bool:
        """Whether a task could ever have to wait for a slot."""
        return sum(len(item.group.tasks) for item in self.submissions) > self.max_parallel

    @property
    def most_at_once(self) -> int:
        """How many tasks are decided or ended in one turn: so few that groups of a handful are caught in between. But not where it
        is known which of several tasks is given a slot first, or that one never starts because another cannot be decided: of those
        that are decided in different turns that is not so."""
        order_matters = self.slots_matter or any(_ends_itself(item.group) for item in self.submissions)
        return ALL_AT_ONCE if order_matters and not self.ties else FEW_AT_ONCE


def _ends_itself(group: TaskGroup) -> bool:
    """Whether a failure in it ends what has nothing else to do with that."""
    return group.fail_fast or any(task.matrix and task.matrix.fail_fast for task in group.tasks)


class CrashAt(Struct, frozen=True, kw_only=True):
    """The engine dies just before or just after its step number `step`, counted from 0 over all its lives.

    A step is whatever leaves the engine: an acceptance, a transaction, the answer to a sync, a call of the dispatcher.
    It is started again `downtime` seconds later; what the executor runs goes on meanwhile. With `power_loss` the machine
    goes down with it: what was not synced is lost, and all that ran.
    """

    step: int
    after: bool = True
    downtime: float = 0.0
    power_loss: bool = False


class Faults(Struct, frozen=True, kw_only=True):
    """What goes wrong beside the tasks. `full_disk` holds spans, in seconds from the beginning of the world, during which
    nothing can be written; `outages`, apart from each other, those during which the other runner cannot be reached."""

    crashes: tuple[CrashAt, ...] = ()
    full_disk: tuple[tuple[float, float], ...] = ()
    outages: tuple[tuple[float, float], ...] = ()

    @property
    def delay(self) -> float:
        """Seconds during which nothing could go on, and the time that executors are given to be heard afterwards."""
        down = sum(crash.downtime + 10.0 for crash in self.crashes if crash.downtime or crash.power_loss)
        silent = sum(end - start for start, end in self.outages)
        return down + silent + sum(end - start + 2.0 for start, end in self.full_disk)

    @property
    def delaying(self) -> bool:
        """Whether they take time, so that what happens when is not what the scenario alone makes of it."""
        stopped = any(crash.downtime or crash.power_loss for crash in self.crashes)
        return bool(self.full_disk or self.outages) or stopped

    def may_lose(self, lost_after: float) -> bool:
        """Whether the other runner is silent for so long that what it carries out is given up."""
        return any(end - start >= lost_after for start, end in self.outages)


NO_FAULTS = Faults()
