"""Executors to try the dispatcher's contract on: each with a way to say what attempts do, and to see what became of them."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from drivers.base import Capabilities, Recovery
from drivers.registry import Registry
from drivers.scripted import ScriptedDriver
from runner.clock import SystemClock
from runner.dispatch.base import Dispatcher
from runner.dispatch.local import LocalDispatcher
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId, Dispatch, Report
from runner.model.result import Outcome, Status
from runner.model.task import Task
from runner.model.value import Bindings
from runner.process.fake import FakeHost
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.simulator.targets import Link

SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0)


class Lab(ABC):
    """Attempts run until they are stopped; those whose task is called `short…` end by themselves, successfully."""

    dispatcher: Dispatcher

    def __init__(self) -> None:
        self.heard: list[Report] = []

    def dispatch(self, task: str = "short", **fields: object) -> Dispatch:
        plain: dict[str, object] = {
            "id": AttemptId("g", task, 1),
            "instance": self.dispatcher.instance,
            "task": Task(name=task, type="scripted"),
            "bindings": Bindings(group_id="g", group_name="n", task_name=task, task_attempt=1),
            "workspace": "/workspace",
            "grace": 1.0,
        }
        return Dispatch(**{**plain, **fields})  # type: ignore[arg-type]  # fields of different types by name

    def send(self, dispatch: Dispatch, after: int = 0) -> AttemptId:
        self.dispatcher.submit(dispatch)
        self.dispatcher.events(dispatch.id, after, self.heard.append)
        return dispatch.id

    def heard_of(self, id: AttemptId) -> list[Report]:
        return [report for report in self.heard if report.id == id]

    @abstractmethod
    async def until(self, holds: Callable[[], bool]) -> None:
        """Let it work until it holds."""

    @abstractmethod
    async def rest(self) -> None:
        """Let it work until nothing happens any more of itself."""

    @abstractmethod
    def starts(self, id: AttemptId) -> int:
        """How often the attempt was really started."""

    @abstractmethod
    def runs(self, id: AttemptId) -> bool:
        """Whether it was started and nobody has ended it."""


class LocalLab(Lab):
    def __init__(self, dispatcher: LocalDispatcher, driver: ScriptedDriver) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.driver = driver

    def dispatch(self, task: str = "short", **fields: object) -> Dispatch:
        dispatch = super().dispatch(task, **fields)
        if task.startswith("short"):
            self.driver.finish(str(dispatch.id), SUCCESS)
        return dispatch

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - what is waited for is the executor's, and has no event
                await asyncio.sleep(0)

    async def rest(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    def starts(self, id: AttemptId) -> int:
        return self.driver.started.count(str(id))

    def runs(self, id: AttemptId) -> bool:
        attempt = self.driver.attempts.get(str(id))
        return attempt is not None and attempt.waiting and not attempt.end.done() and ("destroy",) not in attempt.calls


class SimulatedLab(Lab):
    """The executor itself, or what reaches it from another runner."""

    def __init__(self, *, linked: bool = False) -> None:
        super().__init__()
        self._clock = VirtualClock()
        self._executor = ScriptedExecutor(
            self._clock, lambda id: Script(duration=0.1 if id.task.startswith("short") else math.inf)
        )
        self.dispatcher = Link(self._executor, self._clock) if linked else self._executor

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(1000):
            if holds():
                return
            self._clock.run_until(self._clock.now().boot + 0.01)
        raise TimeoutError

    async def rest(self) -> None:
        self._clock.run_until(self._clock.now().boot + 2.0)

    def starts(self, id: AttemptId) -> int:
        return self._executor.starts[self._executor.instance, id]

    def runs(self, id: AttemptId) -> bool:
        return self.starts(id) > 0 and id in self._executor.in_flight


@asynccontextmanager
async def local_lab() -> AsyncIterator[Lab]:
    capabilities = Capabilities(recovery=Recovery.ATTACH, signals=frozenset({"pause", "start"}))
    driver = ScriptedDriver(capabilities=capabilities)
    logs = MemoryLogStore()
    dispatcher = LocalDispatcher(
        name="local",
        registry=Registry([driver]),
        processes=FakeHost({}),
        logs=logs,
        temp="/temp",
        clock=SystemClock(),
    )
    async with dispatcher:
        yield LocalLab(dispatcher, driver)


@asynccontextmanager
async def simulated_lab() -> AsyncIterator[Lab]:
    yield SimulatedLab()


@asynccontextmanager
async def linked_lab() -> AsyncIterator[Lab]:
    yield SimulatedLab(linked=True)


LABS = {"local": local_lab, "simulated": simulated_lab, "linked": linked_lab}
