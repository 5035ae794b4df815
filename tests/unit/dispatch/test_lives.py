"""Attempts across lives of the runner and of its process host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from drivers.base import Capabilities, Recovery
from drivers.scripted import ScriptedAttempt
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.model.task import Task
from runner.model.value import Value
from runner.simulator.clock import VirtualClock
from tests.unit.dispatch.harness import ATTACHING, ID, KEY, SUCCESS, Harness, bindings, running


def resumed(
    capabilities: Capabilities,
    *,
    handle: bytes | None,
    cancel: bool = False,
    restart: bool = False,
    boot: str | None = None,
) -> tuple[Outcome, ScriptedAttempt, Harness]:
    """An attempt of a former life of the runner, resumed in the present one."""

    async def main() -> tuple[Outcome, ScriptedAttempt, Harness]:
        async with running(capabilities) as former:
            first = former.submit(former.dispatch())
            await former.running(first)
            instance = former.dispatcher.instance if boot is None else f"{boot}/{former.host.incarnation}"
        if restart:
            await former.host.restart()
        async with running(former=former) as harness:
            dispatch = harness.dispatch(instance=instance, resumed=True, handle=handle)
            harness.submit(dispatch, after=4)
            if cancel:
                harness.dispatcher.cancel(ID, 3.0)
            else:
                harness.driver.finish(KEY, SUCCESS)
            outcome = await harness.finished(ID)
            await harness.until(lambda: True)
        return outcome, harness.driver.attempt(KEY), harness

    return asyncio.run(main())


ATTACH, RERUN, NONE = (Capabilities(recovery=recovery) for recovery in (Recovery.ATTACH, Recovery.RERUN, Recovery.NONE))
HANDLE = b"handle of g/t/1"


def test_an_attempt_is_found_again_by_its_handle() -> None:
    outcome, attempt, harness = resumed(ATTACH, handle=HANDLE)
    assert outcome.status is Status.SUCCESS
    assert attempt.calls == [("start",), ("recover",), ("destroy",)]
    assert harness.sequences == [5]


def test_an_attempt_is_found_again_by_its_key() -> None:
    outcome, attempt, harness = resumed(ATTACH, handle=None)
    assert outcome.status is Status.SUCCESS
    assert attempt.calls == [("start",), ("start",), ("destroy",)]
    assert harness.driver.started == [KEY]
    assert harness.sequences == [5, 6]


def test_what_has_no_side_effects_runs_again() -> None:
    outcome, attempt, _ = resumed(RERUN, handle=HANDLE, restart=True)
    assert outcome.status is Status.SUCCESS
    assert attempt.calls == [("start",), ("destroy",), ("start",), ("destroy",)]


@pytest.mark.parametrize(
    ("capabilities", "restart", "boot", "reason"),
    [
        (ATTACH, True, None, "supervisor_lost"),
        (ATTACH, True, "another-boot", "host_restarted"),
        (NONE, False, None, "driver_lost"),
        (NONE, True, None, "driver_lost"),
    ],
)
def test_what_cannot_be_found_again_is_errored(
    capabilities: Capabilities, restart: bool, boot: str | None, reason: str
) -> None:
    outcome, attempt, harness = resumed(capabilities, handle=HANDLE, restart=restart, boot=boot)
    assert (outcome.status, outcome.reason) == (Status.ERRORED, reason)
    assert outcome.error
    assert attempt.calls.count(("start",)) == 1
    assert harness.sequences == [5]


def test_an_attempt_that_its_driver_does_not_know_any_more() -> None:
    outcome, _, _ = resumed(ATTACH, handle=b"handle of something else")
    assert (outcome.status, outcome.reason) == (Status.ERRORED, "driver_lost")
    assert outcome.error == "The attempt is no longer known to its driver."


def test_a_cancelled_attempt_is_found_again_to_be_stopped() -> None:
    outcome, attempt, _ = resumed(ATTACH, handle=HANDLE, cancel=True)
    assert outcome.status is Status.ABORTED
    assert attempt.calls == [("start",), ("recover",), ("stop", 3.0), ("destroy",)]


def test_a_cancelled_attempt_that_never_started_is_not_started() -> None:
    # Its handle was never recorded, and the process host does not know it.
    outcome, attempt, _ = resumed(ATTACH, handle=None, cancel=True)
    assert outcome.status is Status.ABORTED
    assert attempt.calls == [("start",)]


def in_a_next_life(
    capabilities: Capabilities, body: Callable[[Harness, ScriptedAttempt], Awaitable[None]], **fields: Any
) -> None:
    """`body` with an attempt that a former life started and the present one has found again, on a virtual clock."""

    async def main() -> None:
        clock = VirtualClock()
        async with running(capabilities, clock=clock) as former:
            attempt = await former.running(former.submit(former.dispatch()))
            instance = former.dispatcher.instance
        attempt.waiting = False
        async with running(former=former, clock=clock) as harness:
            given = {"instance": instance, "resumed": True, "handle": HANDLE, **fields}
            await body(harness, await harness.running(harness.submit(harness.dispatch(**given), after=4)))

    asyncio.run(main())


@pytest.mark.parametrize("handle", [HANDLE, None])
def test_what_was_paused_is_paused_in_the_next_life(handle: bytes | None) -> None:
    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        assert attempt.calls[-1] == ("signal", "pause")
        harness.dispatcher.signal(ID, "pause")
        harness.dispatcher.signal(ID, "start")
        await harness.until(lambda: bool(harness.notices(Kind.TASK_RESUMED)))
        assert harness.notices(Kind.TASK_PAUSED) == []

    in_a_next_life(ATTACHING, body, handle=handle, paused=True, told_paused=True)


@pytest.mark.parametrize("paused", [True, False])
def test_a_signal_that_was_written_down_and_not_told_of_is_obeyed_in_the_next_life(paused: bool) -> None:
    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        assert attempt.calls[-1] == ("signal", "pause" if paused else "start")
        assert harness.notices(Kind.TASK_PAUSED) == [{}] * paused
        assert harness.notices(Kind.TASK_RESUMED) == [{}] * (not paused)

    in_a_next_life(ATTACHING, body, paused=paused, told_paused=not paused)


def test_what_nobody_wants_paused_goes_on_in_the_next_life() -> None:
    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        assert attempt.calls[-1] == ("signal", "start")
        harness.dispatcher.signal(ID, "start")
        harness.dispatcher.signal(ID, "pause")
        await harness.until(lambda: bool(harness.notices(Kind.TASK_PAUSED)))
        assert harness.notices(Kind.TASK_RESUMED) == []

    in_a_next_life(ATTACHING, body)


def test_what_begins_anew_is_not_paused() -> None:
    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        assert harness.notices(Kind.TASK_RESUMED) == [{}]
        assert [report.sequence for report in harness.reports] == [5, 6]

    in_a_next_life(RERUN, body, paused=True, told_paused=True, handle=None)


@pytest.mark.parametrize(("handle", "told"), [(HANDLE, 0), (None, 1)])
def test_what_was_told_with_the_start_is_told_once(handle: bytes | None, told: int) -> None:
    """Where the start was not recorded, nothing was that had been told with it."""

    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        harness.driver.finish(KEY, SUCCESS)
        await harness.finished(ID)
        assert harness.notices(Kind.MASK_SKIPPED) == [{"name": "inputs.pin"}] * told

    in_a_next_life(ATTACHING, body, handle=handle, bindings=bindings(inputs={"pin": Value("47", True)}))


TIMED = Task(name="t", type="scripted", timeout=10.0)


def test_a_deadline_counts_from_the_start_in_a_former_life() -> None:
    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        clock = harness.clock
        assert isinstance(clock, VirtualClock)
        clock.run_until(clock.now().boot + 2.9)
        assert attempt.calls[-1] == ("recover",)
        clock.run_until(clock.now().boot + 0.2)
        assert (await harness.finished(ID)).reason == "timeout"

    in_a_next_life(ATTACH, body, task=TIMED, started_at=VirtualClock().now().wall - 7.0)


def test_a_deadline_of_what_is_paused_stands_still_in_the_next_life() -> None:
    async def body(harness: Harness, attempt: ScriptedAttempt) -> None:
        clock = harness.clock
        assert isinstance(clock, VirtualClock)
        clock.run_until(clock.now().boot + 100.0)
        assert attempt.calls[-1] == ("signal", "pause")
        harness.dispatcher.signal(ID, "start")
        await harness.until(lambda: bool(harness.notices(Kind.TASK_RESUMED)))
        clock.run_until(clock.now().boot + 9.9)
        assert attempt.calls[-1] == ("signal", "start")
        clock.run_until(clock.now().boot + 0.2)
        assert (await harness.finished(ID)).reason == "timeout"

    in_a_next_life(
        ATTACHING, body, task=TIMED, started_at=VirtualClock().now().wall - 7.0, paused=True, told_paused=True
    )
