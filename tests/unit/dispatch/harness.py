"""A local dispatcher with all that it needs, in memory, and an engine that is nothing but a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from drivers.base import Capabilities, Driver, Recovery
from drivers.registry import Registry
from drivers.scripted import ScriptedAttempt, ScriptedDriver
from runner.clock import Clock, SystemClock
from runner.dispatch.local import LocalDispatcher
from runner.logs.base import LogStore
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.model.task import Task
from runner.model.value import Bindings
from runner.process.fake import FakeHost
from runner.simulator.clock import VirtualClock
from taskimpl.expression_evaluation import ExpressionEvaluationDriver

T = TypeVar("T")
ID = AttemptId("g", "t", 1)
KEY = str(ID)
SUCCESS = Outcome(status=Status.SUCCESS, exit_code=0)
ATTACHING = Capabilities(recovery=Recovery.ATTACH, deadline=False, signals=frozenset({"pause", "start"}))


def bindings(**fields: Any) -> Bindings:
    return Bindings(**{"group_id": "g", "group_name": "group", "task_name": "t", "task_attempt": 1, **fields})


class Harness:
    """`host` and `driver` outlive a dispatcher, as a process host does."""

    def __init__(
        self, dispatcher: LocalDispatcher, driver: ScriptedDriver, host: FakeHost, logs: LogStore, clock: Clock
    ) -> None:
        self.dispatcher = dispatcher
        self.driver = driver
        self.host = host
        self.logs = logs
        self.clock = clock
        self.reports: list[Report] = []

    def dispatch(self, task: Task | None = None, values: Bindings | None = None, **fields: Any) -> Dispatch:
        task = task or Task(name="t", type="scripted")
        return Dispatch(
            **{
                "id": AttemptId("g", task.name, 1),
                "instance": self.dispatcher.instance,
                "task": task,
                "bindings": values or bindings(task_name=task.name),
                "workspace": "/workspace",
                "grace": 1.0,
                **fields,
            }
        )

    def submit(self, dispatch: Dispatch, after: int = 0) -> AttemptId:
        self.dispatcher.submit(dispatch)
        self.dispatcher.events(dispatch.id, after, self.sink)
        return dispatch.id

    def sink(self, report: Report) -> None:
        self.reports.append(report)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop turn until it holds; virtual time does not pass by this."""
        async with asyncio.timeout(10):
            while not holds():
                if isinstance(self.clock, VirtualClock):
                    self.clock.run_until(self.clock.now().boot)
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.001)

    async def finished(self, id: AttemptId) -> Outcome:
        """Its outcome, which is acknowledged."""
        await self.until(lambda: any(isinstance(report, Finished) and report.id == id for report in self.reports))
        last = next(report for report in self.reports if isinstance(report, Finished) and report.id == id)
        self.dispatcher.acknowledge(id, last.sequence)
        return last.outcome

    async def outcome(self, task: Task, values: Bindings | None = None) -> Outcome:
        return await self.finished(self.submit(self.dispatch(task, values)))

    async def running(self, id: AttemptId) -> ScriptedAttempt:
        """The driver's side of an attempt, once it is being waited for."""
        attempt = self.driver.attempt(str(id))
        await self.until(lambda: attempt.waiting)
        return attempt

    async def destroyed(self, id: AttemptId) -> None:
        await self.until(lambda: ("destroy",) in self.driver.attempt(str(id)).calls)

    def notices(self, kind: Kind) -> list[dict[str, Any]]:
        return [dict(report.fields) for report in self.reports if isinstance(report, Noticed) and report.kind is kind]

    @property
    def sequences(self) -> list[int]:
        return [report.sequence for report in self.reports]


@asynccontextmanager
async def running(
    capabilities: Capabilities = ATTACHING,
    *,
    drivers: Iterable[Driver[Any]] = (),
    former: Harness | None = None,
    clock: Clock | None = None,
    host: FakeHost | None = None,
    logs: LogStore | None = None,
) -> AsyncIterator[Harness]:
    """A dispatcher that runs within the block. `former` is one of a former life of the runner: its host, driver and logs go on."""
    driver = former.driver if former else ScriptedDriver(capabilities=capabilities)
    host = host or (former.host if former else FakeHost({}))
    logs = logs or (former.logs if former else MemoryLogStore())
    clock = clock or SystemClock()
    dispatcher = LocalDispatcher(
        name="local",
        registry=Registry([driver, ExpressionEvaluationDriver(), *drivers]),
        processes=host,
        logs=logs,
        temp="/temp",
        clock=clock,
    )
    async with dispatcher:
        yield Harness(dispatcher, driver, host, logs, clock)


def within(body: Callable[[Harness], Awaitable[T]], **options: Any) -> T:
    """What `body` gives, run with a harness; `options` are those of `running`."""

    async def main() -> T:
        async with running(**options) as harness:
            return await body(harness)

    return asyncio.run(main())
