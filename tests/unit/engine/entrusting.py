"""An engine whose group another runner carries out, which says what a test has it say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from runner.dispatch.base import Dispatcher, GroupDispatcher, Sink
from runner.engine.engine import Engine
from runner.engine.targets import Changed, Gone, Refusal, Unreachable
from runner.model.dispatch import WHOLE, AttemptId, Dispatch, Fact, Finished, GroupDispatch, Told
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Forward, Task
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.replay import replay
from runner.simulator.script import Script
from runner.store.memory import MemoryStore

ID = AttemptId("g", WHOLE, 1)
THERE = Forward(to="there")
SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0, started_at=11.0, finished_at=12.0)


class Peer:
    """Implements `GroupDispatcher` by noting down what it is asked."""

    name = "there"
    instance = "there-1"

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.groups: list[GroupDispatch] = []
        self.asked: list[tuple[Any, ...]] = []
        self.after = 0
        self._sink: Sink = lambda report: None
        self._number = 0

    def submit(self, dispatch: Dispatch) -> None:
        raise AssertionError("no task is handed over by itself")

    def submit_group(self, dispatch: GroupDispatch) -> None:
        self.groups.append(dispatch)

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        assert id == ID
        self.after, self._sink = after, sink

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        self.asked.append(("acknowledge", id, sequence))

    def cancel(self, id: AttemptId, grace: float) -> None:
        self.asked.append(("cancel", id, grace))

    def signal(self, id: AttemptId, signal: str) -> None:
        self.asked.append(("signal", id, signal))

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        self.asked.append(("reconcile", *live))

    def release(self, group: str) -> None:
        self.asked.append(("release", group))

    def tell(self, *steps: tuple[Kind, str | None, int, dict[str, Any]], outcome: Outcome | None = None) -> None:
        """Events of these kinds, one behind the other; with a task's end comes `outcome`."""
        facts = []
        for kind, task, attempt, fields in steps:
            self._number += 1
            event = Event(
                group="", number=self._number, at=10.0, kind=kind, task=task, attempt=attempt or None, fields=fields
            )
            facts.append(Fact(event=event, outcome=outcome if kind is Kind.TASK_FINISHED else None))
        self._sink(Told(id=ID, sequence=self._number, facts=tuple(facts)))
        self._clock.run_until(self._clock.now().boot + 1)

    def end(self, outcome: Outcome) -> None:
        self._number += 1
        self._sink(Finished(id=ID, sequence=self._number, outcome=outcome))
        self._clock.run_until(self._clock.now().boot + 1)


class Choice:
    """Implements `Targets`: what is chosen is given."""

    def __init__(self, here: Dispatcher, peer: Peer, chosen: Dispatcher | Unreachable | Refusal) -> None:
        self.here = here
        self.chosen = chosen
        self.asked: list[tuple[Forward, Collection[str]]] = []
        self.changed: Changed = lambda name, there: None
        self.gone: Gone = lambda executor: None
        self.known = {peer.name: peer}

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        self.asked.append((forward, types))
        return self.chosen

    def named(self, runner: str) -> Dispatcher:
        return self.known.get(runner, self.here)

    def peer(self, executor: Dispatcher) -> GroupDispatcher | None:
        peer = self.known.get(executor.name)
        return peer if peer is executor else None

    def all(self) -> Iterable[Dispatcher]:
        return (self.here, *self.known.values())

    def subscribe(self, changed: Changed, gone: Gone) -> None:
        self.changed, self.gone = changed, gone


class World:
    def __init__(self, chosen: Unreachable | Refusal | None = None, *, here: bool = False) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock.call_soon)
        self.sealer = Sealer.ephemeral()
        self.here = ScriptedExecutor(self.clock, lambda id: Script(duration=1.0))
        self.peer = Peer(self.clock)
        self.targets = Choice(self.here, self.peer, chosen or (self.here if here else self.peer))
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(
            store=self.store,
            clock=self.clock,
            dispatcher=self.here,
            targets=self.targets,
            sealer=self.sealer,
            max_parallel=4,
        )

    def restart(self) -> None:
        self.engine.close()
        self.engine = self._engine()
        self.engine.recover()
        self.wait()

    def submit(self, *tasks: Task, **more: Any) -> None:
        self.engine.submit(TaskGroup(id="g", forward=more.pop("forward", THERE), tasks=tasks, **more))
        self.wait()

    def wait(self, seconds: float = 1.0) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)

    def ends(self) -> dict[str, tuple[Status, str | None]]:
        return {name: (task.status, task.reason) for name, task in self.engine.result("g").results.items()}

    def kinds(self, *of: Kind) -> list[Kind]:
        return [event.kind for event in self.store.events("g", 0, 1000) if not of or event.kind in of]

    def check(self) -> None:
        """Its events tell what its rows say."""
        record = self.store.group("g")
        assert record is not None
        assert list(replay(record, self.store.events("g", 0, 1000))) == []


def task(name: str, *depends_on: str, **more: Any) -> Task:
    return Task(name=name, type="t", depends_on=depends_on, **more)


def dispatched(name: str, attempt: int = 1) -> tuple[Kind, str | None, int, dict[str, Any]]:
    return Kind.TASK_DISPATCHED, name, attempt, {}


def started(name: str, attempt: int = 1) -> tuple[Kind, str | None, int, dict[str, Any]]:
    return Kind.TASK_STARTED, name, attempt, {}


def finished(name: str, attempt: int = 1, **fields: Any) -> tuple[Kind, str | None, int, dict[str, Any]]:
    return Kind.TASK_FINISHED, name, attempt, {"status": "success", **fields}
