"""A runner and two others that it may forward to, in a virtual world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.engine.engine import Engine
from runner.errors import StoreFullError
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.group import Input, TaskGroup
from runner.model.result import TaskResult
from runner.model.task import Forward, Task
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.simulator.targets import Link, ScriptedTargets
from runner.store.base import Batch
from runner.store.memory import MemoryStore

LOST_AFTER = 30.0
THERE = Forward(to="there")


class Watched(MemoryStore):
    """Knows how much its largest transaction has had, and may be full."""

    largest = 0
    full = False
    hold: Callable[[Callable[[Exception | None], None]], None] | None = None
    """Takes the answers to syncs, where the disk takes its time."""
    recorded: Callable[[Batch], None] = staticmethod(lambda batch: None)
    """Told behind each transaction."""

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        if self.hold is not None:
            self.hold(done)
        else:
            super().sync(done)

    def record(self, batch: Batch) -> None:
        if self.full:
            raise StoreFullError
        self.largest = max(self.largest, len(batch.tasks) + len(batch.attempts) + len(batch.events))
        super().record(batch)
        self.recorded(batch)


class World:
    """A runner `local` and two others, `there` and `yonder`; one engine after the other."""

    def __init__(
        self,
        scripts: Callable[[AttemptId], Script] = lambda id: Script(duration=1.0),
        *,
        slots: int = 2,
        up: bool = True,
        most: int = 50,
    ) -> None:
        self.clock = VirtualClock()
        self.store = Watched(self.clock.call_soon)
        self.sealer = Sealer.ephemeral()
        self.here = ScriptedExecutor(self.clock, scripts)
        self.peers = {
            name: ScriptedExecutor(self.clock.elsewhere(), scripts, name=name, instance=f"{name}-1")
            for name in ("there", "yonder")
        }
        self.links: dict[str, Link] = {}
        self.slots = slots
        self.most = most
        self.engine = self._engine(up)

    def _engine(self, up: bool) -> Engine:
        targets = ScriptedTargets(self.here, labels={"os": "linux"})
        for name, executor in self.peers.items():
            self.links[name] = Link(executor, self.clock, lost_after=LOST_AFTER, up=up)
            targets.add(self.links[name], labels={"os": "linux", "site": name})
        return Engine(
            store=self.store,
            clock=self.clock,
            dispatcher=self.here,
            targets=targets,
            sealer=self.sealer,
            max_parallel=self.slots,
            most_at_once=self.most,
        )

    def restart(self, *, up: bool = True) -> None:
        self.engine.close()
        for executor in (self.here, *self.peers.values()):
            executor.disconnect()
        self.engine = self._engine(up)
        self.engine.recover()

    def submit(self, *tasks: Task, inputs: Mapping[str, str] | None = None, **group: Any) -> None:
        declared = (Input(name="site", default="there"), Input(name="token", confidential=True, default="hush"))
        self.engine.submit(TaskGroup(id="g", name="deploy", inputs=declared, tasks=tasks, **group), inputs)

    def pass_time(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)

    def result(self, task: str = "a") -> TaskResult:
        return self.engine.result("g").results[task]

    def events(self, *kinds: Kind) -> Sequence[Event]:
        return [event for event in self.engine.events("g", limit=100_000) if event.kind in kinds]


def task(name: str = "a", forward: Forward | None = THERE, **others: Any) -> Task:
    return Task(name=name, type="scripted", forward=forward, **others)
