"""An engine that is a list, a peer that is another, and what joins them: for tests of `RemoteDispatcher`."""

from __future__ import annotations

from runner.dispatch.remote import RemoteDispatcher
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId, Dispatch, Finished, Report, Started
from runner.model.load import Load
from runner.model.result import Outcome, Status
from runner.model.session import (
    Begin,
    ExecutorHello,
    FromOrigin,
    OriginHello,
    Reported,
    Submit,
)
from runner.model.task import Task
from runner.simulator.clock import VirtualClock
from tests.unit.dispatch.harness import bindings

LOST_AFTER = 300.0
ID = AttemptId("g", "t", 1)
SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0)
LOAD = Load(slots=4, taken=0, waiting=0)
HELLO = ExecutorHello(node="n2", name="their-name", instance="i2", types=frozenset({"probe"}), load=LOAD)


class Origin:
    """An engine that is a list, and a peer that is another."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.logs = MemoryLogStore(call_soon=self.clock.call_soon)
        self.reports: list[Report] = []
        self.told: list[FromOrigin] = []
        self.changes: list[tuple[str, bool]] = []
        self.dispatcher = self.new()

    def new(self) -> RemoteDispatcher:
        """Another life of the origin."""
        self.dispatcher = RemoteDispatcher(
            "onprem", node="n1", own_name="cloud", clock=self.clock, logs=self.logs, lost_after=LOST_AFTER
        )
        self.dispatcher.on_change = lambda name, there: self.changes.append((name, there))
        return self.dispatcher

    def dispatch(self, id: AttemptId = ID, *, resumed: bool = False, paused: bool = False) -> Dispatch:
        return Dispatch(
            id=id, instance="i2", task=Task(name=id.task, type="probe"), bindings=bindings(), workspace="/w",
            resumed=resumed, paused=paused,
        )  # fmt: skip

    def send(self, id: AttemptId = ID, *, after: int = 0, resumed: bool = False) -> None:
        self.dispatcher.submit(self.dispatch(id, resumed=resumed))
        self.dispatcher.events(id, after, self.reports.append)

    def connect(self, hello: ExecutorHello = HELLO) -> Begin:
        """A new session: how it begins. What is told behind that is in `told`."""
        self.told = []
        assert self.dispatcher.greeting() == OriginHello(node="n1", name="cloud")
        self.dispatcher.connected(hello, self.told.append)
        begin = self.told.pop(0)
        assert isinstance(begin, Begin)
        return begin

    def hear(self, *reports: Report) -> None:
        for report in reports:
            self.dispatcher.heard(Reported(report=report))

    def submitted(self) -> list[Submit]:
        return [message for message in self.told if isinstance(message, Submit)]

    def finished(self) -> list[Finished]:
        return [report for report in self.reports if isinstance(report, Finished)]

    def pass_seconds(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)


def started(sequence: int = 3, id: AttemptId = ID) -> Started:
    return Started(id=id, sequence=sequence, at=1.0, handle=b"")


def finished(sequence: int = 9, id: AttemptId = ID, outcome: Outcome = SUCCESS) -> Finished:
    return Finished(id=id, sequence=sequence, outcome=outcome)
