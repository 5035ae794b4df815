"""Carries attempts out on this runner, by its drivers."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any

from drivers.base import ProcessHost
from drivers.registry import Registry
from runner.clock import Clock
from runner.dispatch.attempt import Attempt
from runner.dispatch.attemptlog import Logs
from runner.dispatch.base import Sink
from runner.dispatch.secrets import GroupInputs
from runner.dispatch.surroundings import Surroundings
from runner.errors import ProcessHostError
from runner.expressions import DEFAULT_MILLISECONDS
from runner.model.dispatch import AttemptId, Dispatch

TIDYING_SECONDS = 2.0

_log = logging.getLogger(__name__)


class LocalDispatcher:
    """A `Dispatcher` over the drivers of this runner.

    It works inside `async with`, on one asyncio loop, which `clock` belongs to. On leaving, attempts that the next life of the runner can find again
    are left running (their processes belong to the process host); all others are ended.
    """

    def __init__(
        self,
        *,
        name: str,
        registry: Registry,
        processes: ProcessHost,
        logs: Logs,
        temp: str,
        clock: Clock,
        template_milliseconds: int = DEFAULT_MILLISECONDS,
        on_release: Callable[[str], None] = lambda group: None,
    ) -> None:
        """`temp` is the absolute path of a private
        folder for the drivers. The process host is connected already. `template_milliseconds` is what the templates of one
        attempt may cost, as of `expressions.Work`. `on_release` is told of groups that are over."""
        self._name = name
        self._on_release = on_release
        self._around = Surroundings(
            boot_id=clock.now().boot_id,
            registry=registry,
            processes=processes,
            logs=logs,
            temp=temp,
            clock=clock,
            inputs=GroupInputs(),
            template_milliseconds=template_milliseconds,
            spawn=self._spawn,
        )
        self._tasks = asyncio.TaskGroup()
        self._tidying: set[asyncio.Task[None]] = set()
        self._closing = False
        self._attempts: dict[AttemptId, Attempt] = {}
        self._settled: defaultdict[str, set[AttemptId]] = defaultdict(set)
        """By group: attempts that are over and acknowledged, so that one that is sent again late is not started again."""
        self._cancelled_first: dict[AttemptId, float] = {}
        self._listening_first: dict[AttemptId, tuple[int, Sink]] = {}

    async def __aenter__(self) -> LocalDispatcher:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for attempt in self._attempts.values():
            if attempt.task is not None:
                attempt.task.cancel()
        if (
            self._tidying
        ):  # it takes some milliseconds; but the process host may not answer, and the next life does it too
            await asyncio.wait(self._tidying, timeout=TIDYING_SECONDS)
        for tidying in self._tidying:
            tidying.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def name(self) -> str:
        return self._name

    @property
    def instance(self) -> str:
        return self._around.instance

    def submit(self, dispatch: Dispatch) -> None:
        id = dispatch.id
        if self._closing or id in self._attempts or id in self._settled.get(id.group, ()):
            return
        attempt = self._attempts[id] = Attempt(dispatch, self._around, self._forget)
        grace = self._cancelled_first.pop(id, None)
        if grace is not None:
            attempt.cancel(grace)
        listening = self._listening_first.pop(id, None)
        if listening is not None:
            attempt.reports.subscribe(*listening)
        attempt.task = self._tasks.create_task(attempt.run())

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        attempt = self._attempts.get(id)
        if attempt is not None:
            attempt.reports.subscribe(after, sink)
        elif id not in self._settled.get(id.group, ()):
            self._listening_first[id] = (after, sink)

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        attempt = self._attempts.get(id)
        if attempt is not None:
            attempt.reports.acknowledge(sequence)

    def cancel(self, id: AttemptId, grace: float) -> None:
        attempt = self._attempts.get(id)
        if attempt is not None:
            attempt.cancel(grace)
        elif id not in self._settled.get(id.group, ()):
            self._cancelled_first[id] = min(grace, self._cancelled_first.get(id, grace))

    def signal(self, id: AttemptId, signal: str) -> None:
        attempt = self._attempts.get(id)
        if attempt is not None:
            attempt.signal(signal)

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        wanted = set(live)
        for id in [id for id in self._attempts if id not in wanted]:
            self._attempts.pop(id).abandon()
        if not self._closing:
            tidying = self._tasks.create_task(self._forget_others({str(id) for id in wanted}))
            self._tidying.add(tidying)
            tidying.add_done_callback(self._tidying.discard)

    def release(self, group: str) -> None:
        self._settled.pop(group, None)
        self._around.inputs.forget(group)
        self._on_release(group)
        for remembered in (self._cancelled_first, self._listening_first):
            for id in [id for id in remembered if id.group == group]:
                del remembered[id]

    def _forget(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt.id, None)
        self._settled[attempt.id.group].add(attempt.id)

    async def _forget_others(self, wanted: set[str]) -> None:
        """End what the process host still holds for nobody, then remove what it left behind."""
        processes = self._around.processes
        try:
            for key in await processes.list():
                # Looked up now: attempts may have come since the list was asked for.
                if key not in wanted and key not in {str(id) for id in self._attempts}:
                    await processes.forget(key)
        except ProcessHostError as error:  # it is gone, and with it all that it held
            _log.error("reconcile: %s", error.message, extra={"action": "reconcile"})
        live = wanted | {str(id) for id in self._attempts}
        for driver in self._around.registry.loaded:
            try:
                driver.sweep(self._around.temp, live)
            except Exception as error:  # noqa: BLE001 - a driver may raise anything, and this is only tidying up
                _log.error("sweep of %s: %r", driver.type, error, extra={"action": "sweep"})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closing:
            work.close()
        else:
            self._tasks.create_task(work)
