"""Cancel, timeouts and signals."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from drivers.base import Capabilities, TaskContext
from drivers.scripted import ScriptedAttempt
from runner.errors import DriverError
from runner.model.dispatch import AttemptId, Finished
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.model.task import Task
from runner.model.value import Value
from runner.simulator.clock import VirtualClock
from tests.unit.dispatch.harness import KEY, SUCCESS, Harness, bindings, within


def test_cancel_while_it_runs() -> None:
    async def body(harness: Harness) -> None:
        id = harness.submit(harness.dispatch())
        attempt = await harness.running(id)
        harness.dispatcher.cancel(id, 7.0)
        harness.dispatcher.cancel(id, 9.0)
        outcome = await harness.finished(id)
        await harness.destroyed(id)
        assert (outcome.status, outcome.reason) == (Status.ABORTED, None)
        assert attempt.calls == [("start",), ("stop", 7.0), ("destroy",)]

    within(body)


def test_a_kill_report_shows_no_confidential_name() -> None:
    left = {"signals": [["SIGKILL", 0.1]], "left": [{"pid": 7, "name": "x-hushhush-y", "state": "D"}]}
    shown = {"signals": [["SIGKILL", 0.1]], "left": [{"pid": 7, "name": "x-***-y", "state": "D"}]}

    async def survive(attempt: ScriptedAttempt, grace: float) -> None:
        attempt.end.set_result(Outcome(status=Status.ABORTED, kill=left))

    async def body(harness: Harness) -> None:
        harness.driver.on_stop = survive
        values = bindings(inputs={"secret": Value("hushhush", True)})
        id = harness.submit(replace(harness.dispatch(), bindings=values))
        await harness.running(id)
        harness.dispatcher.cancel(id, 1.0)
        assert (await harness.finished(id)).kill == shown
        assert harness.notices(Kind.KILL_REPORT) == [shown]

    within(body)


def test_cancel_can_only_be_hurried() -> None:
    async def ignore(attempt: ScriptedAttempt, grace: float) -> None:
        if grace < 1:
            attempt.end.set_result(Outcome(status=Status.ABORTED, kill={"signals": [["SIGKILL", 0.0]]}))

    async def body(harness: Harness) -> None:
        harness.driver.on_stop = ignore
        id = harness.submit(harness.dispatch())
        attempt = await harness.running(id)
        for grace in (7.0, 8.0, 3.0, 0.0):
            harness.dispatcher.cancel(id, grace)
        outcome = await harness.finished(id)
        assert [call for call in attempt.calls if call[0] == "stop"] == [("stop", 7.0), ("stop", 3.0), ("stop", 0.0)]
        assert (outcome.status, outcome.kill) == (Status.ABORTED, {"signals": [["SIGKILL", 0.0]]})
        assert harness.notices(Kind.KILL_REPORT) == [{"signals": [["SIGKILL", 0.0]]}]

    within(body)


def test_its_own_end_may_come_first() -> None:
    async def finish(attempt: ScriptedAttempt, grace: float) -> None:
        attempt.end.set_result(SUCCESS)

    async def body(harness: Harness) -> Outcome:
        harness.driver.on_stop = finish
        id = harness.submit(harness.dispatch())
        await harness.running(id)
        harness.dispatcher.cancel(id, 1.0)
        return await harness.finished(id)

    assert within(body).status is Status.SUCCESS


def test_cancel_before_it_started() -> None:
    async def body(harness: Harness) -> None:
        id = harness.submit(harness.dispatch())
        harness.dispatcher.cancel(id, 1.0)
        outcome = await harness.finished(id)
        assert (outcome.status, outcome.started_at) == (Status.ABORTED, None)
        assert harness.driver.attempts == {}

    within(body)


def test_cancel_while_it_starts_waits_for_the_start() -> None:
    async def body(harness: Harness) -> None:
        gate = asyncio.Event()

        async def wait(ctx: TaskContext) -> None:
            await gate.wait()

        harness.driver.on_start = wait
        id = harness.submit(harness.dispatch())
        await harness.until(lambda: KEY in harness.driver.attempts)
        harness.dispatcher.cancel(id, 7.0)
        gate.set()
        outcome = await harness.finished(id)
        assert outcome.status is Status.ABORTED
        assert ("stop", 7.0) in harness.driver.attempt(KEY).calls

    within(body)


def test_a_start_that_is_hurried_is_stopped_as_soon_as_it_has_come_about() -> None:
    clock = VirtualClock()

    async def body(harness: Harness) -> None:
        gate = asyncio.Event()

        async def wait(ctx: TaskContext) -> None:
            await gate.wait()

        harness.driver.on_start = wait
        id = harness.submit(harness.dispatch())
        await harness.until(lambda: KEY in harness.driver.attempts)
        harness.dispatcher.cancel(id, 0.0)
        clock.run_until(clock.now().boot + 4.9)
        gate.set()
        outcome = await harness.finished(id)
        assert outcome.status is Status.ABORTED
        assert ("stop", 0.0) in harness.driver.attempt(KEY).calls

    within(body, clock=clock)


def test_a_start_that_does_not_end_is_given_up_after_the_grace() -> None:
    clock = VirtualClock()

    async def body(harness: Harness) -> None:
        async def forever(ctx: TaskContext) -> None:
            await asyncio.get_running_loop().create_future()

        harness.driver.on_start = forever
        id = harness.submit(harness.dispatch())
        await harness.until(lambda: KEY in harness.driver.attempts)
        harness.dispatcher.cancel(id, 7.0)
        clock.run_until(clock.now().boot + 14.9)
        await asyncio.sleep(0)
        assert harness.reports == []
        clock.run_until(clock.now().boot + 0.2)
        await harness.until(lambda: bool(harness.reports))
        assert ("destroy",) in harness.driver.attempt(KEY).calls, "it must not run on once it counts as over"
        outcome = await harness.finished(id)
        assert (outcome.status, outcome.error) == (Status.ABORTED, "it was cancelled while it started")
        assert outcome.kill is None
        assert harness.driver.started == []

    within(body, clock=clock)


def test_a_driver_that_never_confirms_a_stop_is_given_up() -> None:
    clock = VirtualClock()

    async def ignore(attempt: ScriptedAttempt, grace: float) -> None:
        return

    async def body(harness: Harness) -> None:
        harness.driver.on_stop = ignore
        id = harness.submit(harness.dispatch())
        await harness.running(id)
        harness.dispatcher.cancel(id, 7.0)
        clock.run_until(clock.now().boot + 14.9)
        await asyncio.sleep(0)
        assert not any(isinstance(report, Finished) for report in harness.reports)
        clock.run_until(clock.now().boot + 0.2)
        outcome = await harness.finished(id)
        assert (outcome.status, outcome.kill) == (Status.ABORTED, {"confirmed": False})
        assert outcome.error == "the task did not end when it was stopped; it may still run"

    within(body, clock=clock)


def test_a_driver_that_fails_while_it_is_stopped_is_aborted() -> None:
    async def fail(attempt: ScriptedAttempt, grace: float) -> None:
        attempt.end.set_exception(DriverError("the connection was closed"))

    async def body(harness: Harness) -> Outcome:
        harness.driver.on_stop = fail
        id = harness.submit(harness.dispatch())
        await harness.running(id)
        harness.dispatcher.cancel(id, 1.0)
        return await harness.finished(id)

    outcome = within(body)
    assert (outcome.status, outcome.error) == (Status.ABORTED, "the connection was closed")


def test_the_timeout_is_the_runners_where_the_driver_has_none() -> None:
    clock = VirtualClock()

    async def body(harness: Harness) -> None:
        id = harness.submit(harness.dispatch(Task(name="t", type="scripted", timeout=60.0)))
        attempt = await harness.running(id)
        clock.run_until(clock.now().boot + 59.9)
        harness.dispatcher.signal(id, "pause")
        await harness.until(lambda: bool(harness.notices(Kind.TASK_PAUSED)))
        clock.run_until(clock.now().boot + 1000.0)
        harness.dispatcher.signal(id, "start")
        await harness.until(lambda: bool(harness.notices(Kind.TASK_RESUMED)))
        clock.run_until(clock.now().boot + 0.05)
        assert ("stop", 1.0) not in attempt.calls
        clock.run_until(clock.now().boot + 0.06)
        outcome = await harness.finished(id)
        assert ("stop", 1.0) in attempt.calls
        assert (outcome.status, outcome.reason, outcome.exit_code) == (Status.FAILED, "timeout", 124)
        assert outcome.error == "the attempt took longer than its timeout of 60 s"

    within(body, clock=clock)


def test_a_driver_with_deadlines_keeps_them_itself() -> None:
    clock = VirtualClock()

    async def body(harness: Harness) -> None:
        id = harness.submit(harness.dispatch(Task(name="t", type="scripted", timeout=60.0)))
        await harness.running(id)
        clock.run_until(clock.now().boot + 1000.0)
        harness.driver.finish(KEY, SUCCESS)
        assert (await harness.finished(id)).status is Status.SUCCESS
        assert ("stop", 1.0) not in harness.driver.attempt(KEY).calls

    within(body, clock=clock, capabilities=Capabilities(deadline=True))


def test_a_cancelled_attempt_does_not_time_out() -> None:
    clock = VirtualClock()

    async def ignore(attempt: ScriptedAttempt, grace: float) -> None:
        return

    async def body(harness: Harness) -> None:
        harness.driver.on_stop = ignore
        id = harness.submit(harness.dispatch(Task(name="t", type="scripted", timeout=5.0)))
        await harness.running(id)
        harness.dispatcher.cancel(id, 30.0)
        clock.run_until(clock.now().boot + 10.0)
        harness.driver.finish(KEY, Outcome(status=Status.ABORTED))
        assert (await harness.finished(id)).status is Status.ABORTED

    within(body, clock=clock)


def test_signals_are_passed_on_by_capability() -> None:
    async def body(harness: Harness) -> None:
        id = harness.submit(harness.dispatch())
        attempt = await harness.running(id)
        for signal in ("destroy", "pause", "pause", "start", "start", "nonsense"):
            harness.dispatcher.signal(id, signal)
        harness.dispatcher.signal(AttemptId("g", "other", 1), "pause")
        await harness.until(lambda: len(attempt.calls) == 5)
        harness.driver.finish(KEY, SUCCESS)
        await harness.finished(id)
        harness.dispatcher.signal(id, "pause")
        assert attempt.calls[1:5] == [("signal", signal) for signal in ("pause", "pause", "start", "start")]
        assert harness.notices(Kind.TASK_PAUSED) == [{}]
        assert harness.notices(Kind.TASK_RESUMED) == [{}]

    within(body)
