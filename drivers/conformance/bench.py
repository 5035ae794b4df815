"""A runner for one driver: its real validation, dispatcher, masking and processes; state and logs in memory."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from drivers import contract
from drivers.base import Bindings, Driver, Outcome, SimpleDriver, Spec, TaskContext, Value
from drivers.guarded import Guarded
from drivers.registry import Registry
from runner.clock import SystemClock
from runner.dispatch.context import AttemptContext
from runner.dispatch.local import LocalDispatcher
from runner.dispatch.secrets import Secrets
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.task import Task
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from runner.validation import load

GROUP = "bench"
TASK = "tested"
GRACE_SECONDS = 1.0
IDLE_SECONDS = 1.0
"""How long what owns the processes stays when there are none."""


class Carried(Struct, frozen=True, kw_only=True):
    """How an attempt ended, and what it printed: both as others see them, with what is confidential masked."""

    outcome: Outcome
    stdout: str
    stderr: str


class Attempt:
    """One attempt on a bench."""

    def __init__(self, bench: Bench, dispatch: Dispatch) -> None:
        self.id = dispatch.id
        self._bench = bench
        self._first = dispatch
        self.reports: list[Report] = []

    @property
    def stdout(self) -> str:
        """What it has printed by now."""
        return self._bench.printed(self.id, "stdout")

    @property
    def stderr(self) -> str:
        return self._bench.printed(self.id, "stderr")

    @property
    def ended(self) -> bool:
        return any(isinstance(report, Finished) for report in self.reports)

    def noticed(self, kind: Kind) -> bool:
        return any(isinstance(report, Noticed) and report.kind is kind for report in self.reports)

    async def started(self) -> None:
        """Once its driver's `start` has come back; also where the attempt ended instead."""
        await self.until(lambda: self.ended or any(isinstance(report, Started) for report in self.reports))

    async def outcome(self) -> Outcome:
        """How it ended, once it has."""
        await self.until(lambda: self.ended)
        last = next(report for report in self.reports if isinstance(report, Finished))
        self._bench.dispatcher.acknowledge(self.id, last.sequence)
        return last.outcome

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what is told of it. How long that may take is for the caller to say."""
        while not holds():
            self._bench.heard.clear()
            await self._bench.heard.wait()

    def cancel(self, grace: float = GRACE_SECONDS) -> None:
        self._bench.dispatcher.cancel(self.id, grace)

    def signal(self, signal: str) -> None:
        """`pause`, `start` or `destroy`."""
        self._bench.dispatcher.signal(self.id, signal)

    def again(self, instance: str) -> Dispatch:
        """It as the next life of the runner takes it up."""
        started = next((report for report in self.reports if isinstance(report, Started)), None)
        return replace(
            self._first,
            instance=instance,
            resumed=True,
            handle=started.handle if started else None,
            started_at=started.at if started else None,
        )


class Bench:
    """Works inside `async with`. `restart` is what a driver sees of a runner that is killed and comes back: another object of its class,
    and the same processes."""

    def __init__(self, driver: type[Driver[Any]]) -> None:
        """`driver` is a class that can be made without arguments, as an entry point names it."""
        self._make = driver
        self.type = driver.type
        self.heard = asyncio.Event()
        self._attempts: list[Attempt] = []
        self._folder = ExitStack()
        self._life = AsyncExitStack()
        self._logs = MemoryLogStore()

    async def __aenter__(self) -> Bench:
        self.folder = Path(
            self._folder.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True))
        )
        self.workspace = self.folder / "workspace"
        for folder in (self.workspace, self.folder / "temp", self.folder / "state"):
            folder.mkdir(mode=0o700)
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dispatcher.reconcile(())
        for key in await self.processes.list():
            await self.processes.forget(key)
        await self._life.aclose()
        self._folder.close()

    async def _begin(self) -> None:
        async def connect(incarnation: str) -> SupervisorHost:
            return await SupervisorHost.connect(
                self.folder / "state", incarnation=incarnation, idle_seconds=IDLE_SECONDS
            )

        self.driver: Driver[Any] = contract.made(self._make, self.type)
        self.registry = Registry([Guarded(self.driver), _Given()])
        self.processes = await LastingHost.open(connect)
        self._life.push_async_callback(self.processes.aclose)
        self.dispatcher = await self._life.enter_async_context(
            LocalDispatcher(
                name="bench",
                registry=self.registry,
                processes=self.processes,
                logs=self._logs,
                temp=str(self.folder / "temp"),
                clock=SystemClock(),
            )
        )

    async def restart(self) -> None:
        """The runner is gone, and a new one takes up what is not over."""
        instance = self.dispatcher.instance
        await self._life.aclose()
        self._life = AsyncExitStack()
        await self._begin()
        for attempt in self._attempts:
            if not attempt.ended:
                self._send(attempt, attempt.again(instance), len(attempt.reports))

    def task(
        self,
        spec: Mapping[str, Any],
        *,
        exports: Sequence[str | Mapping[str, Any]] = (),
        given: Mapping[str, Value | str] | None = None,
        **more: Any,
    ) -> Task:
        """A task of the driver's type, read from a document as a person would write it. `given` are variables of other tasks that it
        imports, by how its templates call them, e.g. `{"login.token": Value("…", confidential=True)}`; `more` are other keys of a task,
        e.g. `timeout`. Raises DocumentError."""
        values = _by_task(given or {})
        sources = [
            {
                "name": name,
                "type": _Given.type,
                "exports": [{"name": key, "confidential": value.confidential} for key, value in variables.items()],
            }
            for name, variables in values.items()
        ]
        tested = {
            "name": TASK,
            "type": self.type,
            "spec": spec,
            "imports": [{"from": name, "variable": key} for name, variables in values.items() for key in variables],
            "exports": [{"name": export} if isinstance(export, str) else export for export in exports],
            **more,
        }
        document = json.dumps({"taskGroup": [*sources, tested]}).encode()
        return load(document, source="bench", registry=self.registry).group.tasks[-1]

    async def begin(
        self, spec: Mapping[str, Any], *, given: Mapping[str, Value | str] | None = None, **more: Any
    ) -> Attempt:
        """An attempt of such a task; see `task`."""
        task = self.task(spec, given=given, **more)
        number = len(self._attempts) + 1
        dispatch = Dispatch(
            id=AttemptId(GROUP, TASK, number),
            instance=self.dispatcher.instance,
            task=task,
            bindings=self._bindings(given or {}, number),
            workspace=str(self.workspace),
            grace=GRACE_SECONDS,
        )
        attempt = Attempt(self, dispatch)
        self._attempts.append(attempt)
        self._send(attempt, dispatch, 0)
        await attempt.started()
        return attempt

    def context(self, spec: Mapping[str, Any], key: str) -> TaskContext:
        """What a driver is given, for who calls its methods by hand."""
        made: Spec = self.driver.spec_model.model_validate(self.task(spec).spec)
        id = AttemptId(GROUP, key, 1)
        secrets = Secrets(lambda name: None)
        return AttemptContext(
            group_id=GROUP,
            group_name=GROUP,
            task_name=TASK,
            attempt=1,
            spec=made,
            bindings=self._bindings({}, 1),
            env={},
            workspace=str(self.workspace),
            temp=str(self.folder / "temp"),
            timeout=None,
            grace=GRACE_SECONDS,
            log=self._logs.open(id, secrets.masker),
            processes=self.processes,
            secrets=secrets,
        )

    def printed(self, id: AttemptId, stream: Any) -> str:
        return self._logs.read(id, stream, 0, 1 << 30).decode(errors="replace")

    def _send(self, attempt: Attempt, dispatch: Dispatch, after: int) -> None:
        def hear(report: Report) -> None:
            attempt.reports.append(report)
            self.heard.set()

        self.dispatcher.submit(dispatch)
        self.dispatcher.events(dispatch.id, after, hear)

    def _bindings(self, given: Mapping[str, Value | str], number: int) -> Bindings:
        return Bindings(imports=_by_task(given), group_id=GROUP, group_name=GROUP, task_name=TASK, task_attempt=number)


class _Given(SimpleDriver[Spec]):
    """Stands in a document for the tasks that something is imported from. It is never asked to run."""

    type = "given"

    async def run(self, ctx: TaskContext, spec: Spec) -> Mapping[str, str | Value]:
        return {}


def carried_out(driver: type[Driver[Any]], spec: Mapping[str, Any], **more: Any) -> Carried:
    """Carry one attempt out to its end; see `Bench.task`."""

    async def main() -> Carried:
        async with Bench(driver) as bench:
            attempt = await bench.begin(spec, **more)
            outcome = await attempt.outcome()
            return Carried(outcome=outcome, stdout=attempt.stdout, stderr=attempt.stderr)

    return asyncio.run(main())


def _by_task(given: Mapping[str, Value | str]) -> dict[str, dict[str, Value]]:
    values: dict[str, dict[str, Value]] = {}
    for path, value in given.items():
        task, dot, name = path.partition(".")
        if not dot:
            raise ValueError(f"{path!r} names no variable of a task, as login.token does")
        values.setdefault(task, {})[name] = value if isinstance(value, Value) else Value(value)
    return values
