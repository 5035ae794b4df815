"""One attempt on this runner, from its dispatch to the acknowledgement of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from drivers.base import Driver, Recovery
from runner import expressions
from runner.dispatch import verdict
from runner.dispatch.attemptlog import AttemptLog
from runner.dispatch.complaints import Complaints
from runner.dispatch.context import AttemptContext
from runner.dispatch.exports import collected
from runner.dispatch.render import SpecError, rendered_env, rendered_spec
from runner.dispatch.reports import Reports
from runner.dispatch.secrets import Secrets
from runner.dispatch.surroundings import Surroundings
from runner.dispatch.timing import Deadline, OutOfPatienceError, Patience, within
from runner.errors import DriverError, ProcessHostError, TemplateError
from runner.model import trace
from runner.model.dispatch import PAUSES, Dispatch
from runner.model.event import Kind
from runner.model.result import Outcome, Reason, Status

STOP_MARGIN_SECONDS = 8.0
"""How long after its grace a driver may take to say how the attempt ended, before the runner goes on without it."""

DRIVER_CALL_SECONDS = 10.0
"""How long `stop`, `signal` and `destroy` may take."""

MAX_HANDLE_BYTES = 64 << 10

_LOST = (Reason.SUPERVISOR_LOST, Reason.HOST_RESTARTED, Reason.DRIVER_LOST)


class Attempt:
    """`run` is the attempt; the other methods may be called at any time, also before it and after its end.

    What it is made of does not know it, but for `reports` until its end is acknowledged: so what is over is freed at once, and
    not when Python's collector comes by, which took a seventh of a task's time.
    """

    def __init__(self, dispatch: Dispatch, surroundings: Surroundings, on_settled: Callable[[Attempt], None]) -> None:
        self.id = dispatch.id
        self.task: asyncio.Task[None] | None = None
        self._dispatch = dispatch
        self._around = surroundings
        self._on_settled = on_settled
        self._key = str(dispatch.id)
        self._driver = surroundings.registry.get(dispatch.task.type)
        self._settled: asyncio.Future[None] | None = None
        reports = Reports(dispatch.id, surroundings.clock, continued=dispatch.resumed, on_settled=self._settle)
        self.reports = reports
        self._secrets = Secrets(lambda name: reports.noticed(Kind.MASK_SKIPPED, name=name))
        self._complaints = Complaints(dispatch, self._secrets)
        self._patience = Patience(surroundings.clock)
        self._deadline: Deadline | None = None
        self._log = AttemptLog(dispatch.id, surroundings.logs, self._complaints.tell)
        self._handle: bytes | None = None
        self._begun = False
        """The driver was asked to start or recover it, so that `destroy` is due."""
        self._running = False
        """It was started and has not ended, so that `stop` and `signal` make sense."""
        self._started_at: float | None = None
        self._cancel_grace: float | None = None
        self._stop_grace: float | None = None
        self._timed_out = False
        self._paused = dispatch.told_paused
        self._to_be_paused = dispatch.paused
        self._to_be_destroyed = False
        """What its origin wants, also before it was started."""
        self._abandoned = False
        self._to_be_cleared = dispatch.resumed
        """It may have left files that `destroy` knows nothing of: in a former life, or with its supervisor."""

    async def run(self) -> None:
        """Carry it out, report it, wait until the report is acknowledged, then free what it holds.

        Cancelling this is the end of the dispatcher, not of the attempt: one that the next life of the runner can find again
        is left alone.
        """
        try:
            self.reports.end(await self._outcome())
            if not self.reports.settled:
                self._settled = asyncio.get_running_loop().create_future()
                await self._settled
        except asyncio.CancelledError:
            if self._abandoned or self._recovery is not Recovery.ATTACH:
                await self._destroy()
                self._log.close()
            raise
        finally:
            self._disarm()
        await self._destroy()
        if self._to_be_cleared and self._driver is not None:
            await self._quietly("clear", self._driver.clear(self._around.temp, self._key))

    def cancel(self, grace: float) -> None:
        """Stop it: politely, after `grace` seconds by force. Again with a shorter grace it is hurried."""
        if self.reports.finished or (self._cancel_grace is not None and self._cancel_grace <= grace):
            return
        self._cancel_grace = grace
        if self._running:
            self._stop(grace)
        elif self._begun:
            self._patience.end_in(grace + STOP_MARGIN_SECONDS)

    def signal(self, signal: str) -> None:
        """Pass it to the driver, if it understands it, once it was started."""
        if signal in PAUSES:
            self._to_be_paused = signal == "pause"
        elif signal == "destroy":
            self._to_be_destroyed = True
        if self._running and self._driver is not None and signal in self._driver.capabilities.signals:
            self._around.spawn(self._signal(self._driver, signal))

    def abandon(self) -> None:
        """Nobody wants it any more: end it without a word."""
        self._abandoned = True
        if self.task is not None:
            self.task.cancel()

    # The way of an attempt.

    async def _outcome(self) -> Outcome:
        try:
            outcome = self._collected(await self._cleared(await self._carried_out()))
        except Exception as error:  # noqa: BLE001 - whatever a driver or a log store raises, the attempt has an end
            outcome = self._collected(await self._cleared(self._failure(error)))
        outcome = await self._log.redacted(outcome, self._secrets, self.reports, resumed=self._dispatch.resumed)
        self._log.tell_gaps(self.reports)
        if outcome.started_at is not None and outcome.finished_at is not None:
            return outcome
        return replace(
            outcome,
            started_at=self._started_at if outcome.started_at is None else outcome.started_at,
            finished_at=self._around.clock.now().wall if outcome.finished_at is None else outcome.finished_at,
        )

    async def _cleared(self, outcome: Outcome) -> Outcome:
        """Where what owned its processes is gone, nobody else ends them, nor looks after what they have left: no end is
        reported before that is done."""
        if outcome.reason not in _LOST:
            if self._dispatch.resumed:
                self._log.recall()
            return outcome
        self._patience.cancel()
        if outcome.reason == Reason.SUPERVISOR_LOST:
            incarnation = self._dispatch.instance.partition("/")[2]
            outcome = replace(outcome, kill=await self._around.processes.end_former(incarnation))
        if self._driver is not None:
            await self._salvage(self._driver)
        return outcome

    async def _salvage(self, driver: Driver[Any]) -> None:
        """Learn what a lost attempt has made confidential, so that it is masked in what it has said."""
        task = self._dispatch.task
        self._to_be_cleared = True
        try:
            if self._log.sink is None:
                self._context(driver)
                self._log.keep_all()
            self._log.recall()
            exported = await driver.salvage(self._around.temp, self._key, task.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt has an end
            self._complaints.tell("salvage", error)
            return
        declared = {export.name: export.confidential for export in task.exports}
        for name, value in exported:
            if declared.get(name) or (name in declared and value.confidential):
                self._secrets.add(name, value.text)

    def _collected(self, outcome: Outcome) -> Outcome:
        """What leaves the attempt, once nothing runs any more."""
        self._running = False
        self._disarm()
        self._log.close()
        outcome = collected(verdict.checked(outcome), self._dispatch.task, self._secrets, self.reports)
        if outcome.kill is not None:
            # It names processes, and a process may call itself anything.
            outcome = replace(outcome, kill=self._secrets.masked(outcome.kill))
            self.reports.noticed(Kind.KILL_REPORT, **(outcome.kill or {}))
        return outcome

    async def _carried_out(self) -> Outcome:
        driver, dispatch = self._driver, self._dispatch
        if driver is None:
            return verdict.errored(Reason.UNKNOWN_TYPE, self._around.registry.lack(dispatch.task.type))
        lost = verdict.lost(dispatch, self._around.instance, self._recovery)
        if lost is not None:
            return lost
        if self._cancel_grace is not None and not await self._may_run_already():
            return Outcome(status=Status.ABORTED)
        try:
            context = self._context(driver)
        except TemplateError as error:
            return verdict.errored(Reason.BAD_TEMPLATE, error.message)
        except SpecError as error:
            return verdict.errored(Reason.BAD_SPEC, str(error))
        return await self._start(driver, context) or await self._end(driver)

    async def _may_run_already(self) -> bool:
        """Whether a former life of the runner may have started it: then it has to be found, to be stopped."""
        if not self._dispatch.resumed or self._recovery is not Recovery.ATTACH:
            return False
        return self._dispatch.handle is not None or self._key in await self._around.processes.list()

    def _context(self, driver: Driver[Any]) -> AttemptContext:
        dispatch, around = self._dispatch, self._around
        bindings = dispatch.bindings
        self._secrets.add_bindings(bindings, around.inputs)
        scope = expressions.Scope(bindings, expressions.Work(around.template_milliseconds))
        spec = rendered_spec(dispatch.task, driver, scope, self._secrets)
        env = rendered_env(bindings, self._secrets, scope.work)
        if dispatch.traceparent:
            env = {trace.VARIABLE: dispatch.traceparent, **env}  # which the group's own wins over
        log = self._log.open(dispatch.task, self._secrets.masker)
        if dispatch.handle is not None:
            self.reports.started_before()
        return AttemptContext(
            group_id=bindings.group_id,
            group_name=bindings.group_name,
            task_name=bindings.task_name,
            attempt=dispatch.id.attempt,
            spec=spec,
            bindings=bindings,
            env=env,
            workspace=dispatch.workspace,
            temp=around.temp,
            timeout=dispatch.task.timeout,
            grace=dispatch.grace,
            log=log,
            processes=around.processes,
            secrets=self._secrets,
            foresight=self._log.foresight,
        )

    async def _start(self, driver: Driver[Any], context: AttemptContext) -> Outcome | None:
        """Begin it, or find it again; its outcome if it was cancelled meanwhile and did not come that far."""
        known = self._dispatch.handle if self._dispatch.resumed and self._recovery is Recovery.ATTACH else None
        self._begun = True
        self._to_be_cleared = False
        self._handle = known
        if self._cancel_grace is not None:
            self._patience.end_in(self._cancel_grace + STOP_MARGIN_SECONDS)
        elif known is None and context.timeout is not None and not driver.capabilities.deadline:
            self._patience.end_in(context.timeout)
        try:
            if known is not None:
                await self._patience.wait(driver.recover(context, known))
            else:
                self._handle = await self._patience.wait(driver.start(context, self._key))
        except OutOfPatienceError:
            # It may have started all the same, and must not run on once the task counts as over.
            kill = None if await self._destroy() else {"confirmed": False}
            if self._cancel_grace is None:
                late = Outcome(
                    status=Status.FAILED, kill=kill, error="the driver had not started it when its timeout was up"
                )
                return verdict.timed_out(late, context.timeout or 0.0)
            return Outcome(status=Status.ABORTED, kill=kill, error="it was cancelled while it started")
        if self._cancel_grace is None:
            self._patience.cancel()
        if not isinstance(self._handle, bytes) or len(self._handle) > MAX_HANDLE_BYTES:
            raise DriverError(f"the driver's handle is missing or longer than {MAX_HANDLE_BYTES:,} bytes")
        self._running = True
        if known is None:
            self._started_at = self._around.clock.now().wall
            self.reports.started(self._started_at, self._handle)
        await self._obey_signals(driver)
        if context.timeout is not None and not driver.capabilities.deadline:
            self._deadline = Deadline(self._around.clock, self._time_left(driver, context.timeout), self._time_is_up)
            if self._paused:
                self._deadline.hold()
        if self._cancel_grace is not None:
            self._stop(self._cancel_grace)
        return None

    async def _obey_signals(self, driver: Driver[Any]) -> None:
        """Make it paused or not, as its origin wants it: nobody knows how far a former life of the runner has come with that."""
        found_again = self._dispatch.resumed and self._recovery is Recovery.ATTACH
        signal = "pause" if self._to_be_paused else "start"
        if not found_again and self._paused:
            self._is_paused(False)  # it began anew
        if (found_again or self._to_be_paused) and signal in driver.capabilities.signals:
            await self._signal(driver, signal)
        if self._to_be_destroyed and "destroy" in driver.capabilities.signals:
            await self._signal(driver, "destroy")

    def _time_left(self, driver: Driver[Any], timeout: float) -> float:
        """Of an attempt whose deadline is kept here: where it may have been paused, nobody knows for how long, and it has all of its
        time again rather than too little."""
        started = self._dispatch.started_at
        if started is None or self._recovery is not Recovery.ATTACH or "pause" in driver.capabilities.signals:
            return timeout
        return max(0.0, timeout - (self._around.clock.now().wall - started))

    async def _end(self, driver: Driver[Any]) -> Outcome:
        assert self._handle is not None
        try:
            outcome = await self._patience.wait(driver.wait(self._handle))
        except OutOfPatienceError:
            error = "the task did not end when it was stopped; it may still run"
            outcome = Outcome(status=Status.ABORTED, kill={"confirmed": False}, error=error)
        except Exception as error:
            if self._stop_grace is None:
                raise
            outcome = replace(self._failure(error), status=Status.ABORTED)
        if self._timed_out:
            outcome = verdict.timed_out(outcome, self._dispatch.task.timeout or 0.0)
        return outcome

    def _settle(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        self._on_settled(self)

    async def _destroy(self) -> bool:
        """Free what it holds, once. Whether that went well."""
        if not self._begun or self._driver is None:
            return True
        self._begun = False
        handle = self._key.encode() if self._handle is None else self._handle
        return await self._quietly("destroy", self._driver.destroy(handle))

    def _disarm(self) -> None:
        self._patience.cancel()
        if self._deadline is not None:
            self._deadline.cancel()

    # What happens to it while it runs.

    def _time_is_up(self) -> None:
        if self._cancel_grace is None:
            self._timed_out = True
            self._stop(self._dispatch.grace)

    def _stop(self, grace: float) -> None:
        if self._stop_grace is None or grace < self._stop_grace:
            self._stop_grace = grace
            self._around.spawn(self._ask_to_stop(grace))
            self._patience.end_in(grace + STOP_MARGIN_SECONDS)

    async def _ask_to_stop(self, grace: float) -> None:
        if self._running and self._driver is not None and self._handle is not None:
            await self._quietly("stop", self._driver.stop(self._handle, grace))

    async def _signal(self, driver: Driver[Any], signal: str) -> None:
        assert self._handle is not None
        understood = await self._quietly("signal", driver.signal(self._handle, signal))
        pausing = signal == "pause"
        if understood and self._running and signal in PAUSES and pausing is not self._paused:
            self._is_paused(pausing)

    def _is_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._deadline is not None and paused:
            self._deadline.hold()
        elif self._deadline is not None:
            self._deadline.go_on()
        self.reports.happened(Kind.TASK_PAUSED if paused else Kind.TASK_RESUMED)

    # What goes wrong.

    @property
    def _recovery(self) -> Recovery:
        return Recovery.NONE if self._driver is None else self._driver.capabilities.recovery

    def _failure(self, error: Exception) -> Outcome:
        if not isinstance(error, DriverError | ProcessHostError):
            self._complaints.tell("failed", error)
        return verdict.failure(error)

    async def _quietly(self, verb: str, call: Awaitable[None]) -> bool:
        """Whether the call of the driver went well. Its failures are for the runner's own log: the attempt goes on."""
        try:
            await within(DRIVER_CALL_SECONDS, call)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            self._complaints.tell(verb, error)
            return False
        return True
