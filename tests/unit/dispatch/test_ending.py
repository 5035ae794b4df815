"""How an attempt is reported, and how drivers fail."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from drivers.base import SimpleDriver, Spec, TaskContext
from drivers.scripted import ScriptedDriver
from runner.dispatch.attempt import MAX_HANDLE_BYTES, Attempt
from runner.errors import DriverError, ProcessHostError, StartError
from runner.model.dispatch import Finished, Started
from runner.model.result import Outcome, Status
from runner.model.task import Export, Task
from runner.model.value import Value
from tests.unit.dispatch.harness import ID, KEY, SUCCESS, Harness, bindings, within


def test_reports_are_numbered_and_tell_when_it_began_and_ended() -> None:
    async def body(harness: Harness) -> None:
        id = harness.submit(harness.dispatch())
        await harness.running(id)
        harness.driver.finish(KEY, SUCCESS)
        outcome = await harness.finished(id)
        started, finished = harness.reports
        assert isinstance(started, Started)
        assert isinstance(finished, Finished)
        assert started.handle == b"handle of g/t/1"
        assert (outcome.status, outcome.exit_code, outcome.started_at) == (Status.SUCCESS, 0, started.at)
        assert outcome.finished_at is not None
        assert outcome.finished_at >= started.at
        assert harness.sequences == [1, 2]

    within(body)


def test_a_driver_knows_better_when_it_began_and_ended() -> None:
    async def body(harness: Harness) -> Outcome:
        harness.driver.finish(KEY, Outcome(status=Status.SUCCESS, started_at=1.0, finished_at=2.0))
        return await harness.outcome(Task(name="t", type="scripted"))

    outcome = within(body)
    assert (outcome.started_at, outcome.finished_at) == (1.0, 2.0)


def test_what_it_holds_is_freed_once_its_end_is_recorded() -> None:
    async def body(harness: Harness) -> None:
        harness.driver.finish(KEY, SUCCESS)
        id = harness.submit(harness.dispatch())
        await harness.until(lambda: len(harness.reports) == 2)
        harness.dispatcher.acknowledge(id, 1)
        assert harness.driver.attempt(KEY).calls == [("start",)]
        harness.dispatcher.acknowledge(id, 2)
        await harness.destroyed(id)
        assert harness.driver.attempt(KEY).calls == [("start",), ("destroy",)]

    within(body)


def attempts() -> set[int]:
    return {id(one) for one in gc.get_objects() if isinstance(one, Attempt)}


def test_what_is_over_is_freed_at_once_and_not_by_the_collector() -> None:
    async def body(harness: Harness) -> None:
        secret = bindings(inputs={"password": Value("hunter22", True)})
        gc.collect()
        earlier = attempts()  # what a test before this one has left behind
        gc.disable()
        try:
            harness.driver.finish(KEY, SUCCESS)
            id = harness.submit(harness.dispatch(values=secret))
            await harness.finished(id)
            await harness.destroyed(id)
            await harness.until(lambda: attempts() <= earlier)
        finally:
            gc.enable()

    within(body)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StartError("no such folder"), Outcome(status=Status.ERRORED, reason="start_failed", exit_code=125, error="no such folder")),
        (StartError("not found", exit_code=127), Outcome(status=Status.FAILED, exit_code=127, error="not found")),
        (StartError("not executable", exit_code=126), Outcome(status=Status.FAILED, exit_code=126, error="not executable")),
        (DriverError("no image hushhush", reason="image_missing"),
         Outcome(status=Status.ERRORED, reason="image_missing", error="no image ***")),
        (ProcessHostError("gone"), Outcome(status=Status.ERRORED, reason="supervisor_lost", error="gone")),
    ],
)  # fmt: skip
def test_a_start_that_fails(error: Exception, expected: Outcome) -> None:
    async def fail(ctx: TaskContext) -> None:
        ctx.add_mask("a", "hushhush")
        raise error

    async def body(harness: Harness) -> Outcome:
        harness.driver.on_start = fail
        outcome = await harness.outcome(Task(name="t", type="scripted"))
        await harness.destroyed(ID)
        assert not any(isinstance(report, Started) for report in harness.reports)
        return outcome

    outcome = within(body)
    assert outcome.finished_at is not None
    assert outcome.started_at is None
    assert outcome == Outcome(
        status=expected.status,
        reason=expected.reason,
        exit_code=expected.exit_code,
        error=expected.error,
        finished_at=outcome.finished_at,
    )


def test_a_driver_that_breaks_is_errored_and_its_traceback_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    async def body(harness: Harness) -> Outcome:
        id = harness.submit(harness.dispatch(values=bindings(inputs={"s": Value("hushhush", True)})))
        await harness.running(id)
        harness.driver.break_down(KEY, ZeroDivisionError("hushhush / 0"))
        return await harness.finished(id)

    with caplog.at_level(logging.ERROR):
        outcome = within(body)
    assert (outcome.status, outcome.reason) == (Status.ERRORED, "driver_error")
    assert outcome.error == "the driver failed unexpectedly; the runner's own log says how"
    [record] = caplog.records
    assert "ZeroDivisionError: *** / 0" in record.getMessage()
    assert "hushhush" not in record.getMessage()
    assert vars(record)["action"] == "driver_failed"
    assert (vars(record)["group_id"], vars(record)["task"], vars(record)["attempt"]) == ID


@pytest.mark.parametrize("status", [Status.RUNNING, Status.SKIPPED, Status.PENDING])
def test_an_end_that_is_none_is_the_drivers_mistake(status: Status) -> None:
    async def body(harness: Harness) -> Outcome:
        harness.driver.finish(KEY, Outcome(status=status))
        return await harness.outcome(Task(name="t", type="scripted"))

    outcome = within(body)
    assert (outcome.status, outcome.reason) == (Status.ERRORED, "driver_error")
    assert outcome.error == f"the driver says that the attempt ended as {status.value!r}"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"exit_code": 1 << 70}, "exit_code"),
        ({"exit_code": "7", "signal": 2.5}, "exit_code, signal"),
        ({"reason": 5}, "reason"),
        ({"error": ValueError("x")}, "error"),
        ({"finished_at": float("nan")}, "finished_at"),
        ({"kill": {"signals": {"SIGTERM"}}}, "kill"),
        ({"kill": {"left": "\udc80"}}, "kill"),
        ({"kill": {"signals": ["SIGTERM"]}}, "kill"),
        ({"kill": {"signals": [["SIGTERM", "at once"]]}}, "kill"),
        ({"kill": {"left": [{"pid": 7}]}}, "kill"),
        ({"kill": {"survivors": -1}}, "kill"),
        ({"kill": {"confirmed": "yes"}}, "kill"),
        ({"outputs": {"x": "no Value"}}, "outputs"),
        ({"outputs": {"x": Value(5)}}, "outputs"),  # type: ignore[arg-type]  # a driver without type checks
    ],
)
def test_an_end_that_no_store_can_keep_does_not_leave_the_executor(fields: dict[str, Any], named: str) -> None:
    async def body(harness: Harness) -> Outcome:
        harness.driver.finish(KEY, Outcome(**{"status": Status.FAILED, **fields}))
        return await harness.outcome(Task(name="t", type="scripted", exports=(Export(name="x"),)))

    outcome = within(body)
    assert (outcome.status, outcome.reason) == (Status.ERRORED, "driver_error")
    assert outcome.error == f"the driver told of the attempt's end what cannot be kept: {named}"


def test_a_text_that_is_no_utf8_is_escaped() -> None:
    async def body(harness: Harness) -> Outcome:
        harness.driver.finish(KEY, Outcome(status=Status.FAILED, reason="r\udc80", error="no file 'caf\udce9'"))
        return await harness.outcome(Task(name="t", type="scripted"))

    outcome = within(body)
    assert (outcome.status, outcome.reason, outcome.error) == (Status.FAILED, "r\\udc80", "no file 'caf\\udce9'")


def test_an_error_of_a_driver_may_be_anything() -> None:
    async def body(harness: Harness) -> Outcome:
        harness.driver.attempt(KEY)
        harness.driver.break_down(KEY, StartError("gone \udc80", exit_code=1 << 70))
        return await harness.outcome(Task(name="t", type="scripted"))

    outcome = within(body)
    assert (outcome.status, outcome.reason, outcome.exit_code) == (Status.ERRORED, "driver_error", None)


class LongHandles(ScriptedDriver):
    async def start(self, ctx: TaskContext, key: str) -> bytes:
        await super().start(ctx, key)
        return b"x" * (MAX_HANDLE_BYTES + 1)

    async def destroy(self, handle: bytes) -> None:
        raise ValueError("a destroy that fails")


def test_a_handle_is_bounded_and_a_failing_destroy_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def body(harness: Harness) -> Outcome:
        outcome = await harness.outcome(Task(name="t", type="long"))
        await harness.until(lambda: "a destroy that fails" in caplog.text)
        return outcome

    outcome = within(body, drivers=[LongHandles("long")])
    assert outcome.error == "the driver's handle is missing or longer than 65,536 bytes"
    assert "a destroy that fails" in caplog.text


def test_a_simple_driver() -> None:
    class Greet(SimpleDriver[Spec]):
        type = "greet"

        async def run(self, ctx: TaskContext, spec: Spec) -> dict[str, str | Value]:
            ctx.log.write("stdout", b"hello\n")
            return {"greeting": "hello", "other": "x"}

    async def body(harness: Harness) -> None:
        outcome = await harness.outcome(Task(name="t", type="greet", exports=(Export(name="greeting"),)))
        assert outcome.status is Status.SUCCESS
        assert outcome.outputs == {"greeting": Value("hello")}
        assert harness.logs.read(ID, "stdout") == b"hello\n"

    within(body, drivers=[Greet()])
