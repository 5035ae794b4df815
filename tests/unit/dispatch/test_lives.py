"""Attempts across lives of the runner and of its process host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from drivers.base import Capabilities, ProcessSpec, Recovery, SimpleDriver, Spec, TaskContext
from drivers.scripted import ScriptedAttempt, ScriptedDriver
from runner.errors import ProcessHostError
from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.model.task import Export, Task
from runner.model.value import Value
from runner.process.fake import FakeHost, FakeRun
from runner.simulator.clock import VirtualClock
from tests.contract.process_labs import Sink
from tests.unit.dispatch.harness import ATTACHING, ID, KEY, SUCCESS, Harness, bindings, running, within


def test_leaving_ends_what_nobody_could_find_again() -> None:
    ended = []

    class Sleeper(SimpleDriver[Spec]):
        type = "sleeper"

        async def run(self, ctx: TaskContext, spec: Spec) -> Outcome:
            try:
                await asyncio.get_running_loop().create_future()
                return SUCCESS
            finally:
                ended.append(ctx.task_name)

    async def body(harness: Harness) -> None:
        harness.submit(harness.dispatch(Task(name="sleeps", type="sleeper")))
        harness.submit(harness.dispatch())
        await harness.running(ID)
        await harness.until(lambda: len(harness.reports) == 2)

    async def main() -> None:
        async with running(drivers=[Sleeper()]) as harness:
            await body(harness)
        assert ended == ["sleeps"]
        assert harness.driver.attempt(KEY).calls == [("start",)]
        harness.submit(harness.dispatch(Task(name="late", type="scripted")))
        assert str(AttemptId("g", "late", 1)) not in harness.driver.attempts

    asyncio.run(main())


def test_leaving_waits_for_what_is_being_freed() -> None:
    async def main() -> None:
        async with running() as harness:
            harness.driver.finish(KEY, SUCCESS)
            await harness.outcome(Task(name="t", type="scripted"))
        assert harness.driver.attempt(KEY).calls == [("start",), ("destroy",)]

    asyncio.run(main())


def test_an_error_in_the_block_is_not_wrapped() -> None:
    async def body(harness: Harness) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        within(body)


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


def test_what_a_lost_attempt_has_left_is_cleared_once_its_end_is_recorded() -> None:
    """A runner may be killed behind the salvage: the next one has to learn again what is to be masked."""
    said: list[str] = []

    class Leaves(ScriptedDriver):
        async def salvage(self, temp: str, key: str, task: str) -> list[tuple[str, Value]]:
            said.append(f"salvage {key} of {task}")
            return [("token", Value("hunter2hunter2"))]

        async def clear(self, temp: str, key: str) -> None:
            said.append(f"clear {key}")

    async def main() -> None:
        logs = MemoryLogStore()
        logs.open(ID, Masker()).write("stdout", b"it is hunter2hunter2")
        task = Task(name="t", type="leaves", exports=(Export(name="token", confidential=True),))
        attaching = Leaves("leaves", capabilities=ATTACH)
        for _ in range(2):
            async with running(drivers=[attaching], logs=logs) as harness:
                id = harness.submit(harness.dispatch(task, instance="boot/former", resumed=True))
                await harness.until(lambda: bool(harness.reports))
                assert harness.notices(Kind.LOG_REDACTED) == [{"stream": "stdout", "marks": 1, "offset": 6}]
                assert said == [f"salvage {KEY} of t"]
                said.clear()
        async with running(drivers=[attaching], logs=logs) as harness:
            id = harness.submit(harness.dispatch(task, instance="boot/former", resumed=True))
            await harness.finished(id)
            await harness.until(lambda: len(said) == 2)
            assert said[1] == f"clear {KEY}"
        assert logs.read(ID, "stdout") == b"it is ***"

    asyncio.run(main())


def test_what_a_former_life_made_for_an_attempt_that_it_did_not_start_is_cleared_when_it_is_cancelled() -> None:
    """It was killed between the files of the attempt and its process."""
    cleared: list[str] = []

    class Made(ScriptedDriver):
        async def clear(self, temp: str, key: str) -> None:
            cleared.append(key)

    async def main() -> None:
        made = Made("made", capabilities=ATTACH)
        async with running(drivers=[made]) as harness:
            id = harness.submit(harness.dispatch(Task(name="t", type="made"), resumed=True))
            harness.dispatcher.cancel(id, 3.0)
            assert (await harness.finished(id)).status is Status.ABORTED
            await harness.until(lambda: cleared == [KEY])
            assert KEY not in made.attempts

    asyncio.run(main())


def test_a_dispatch_for_a_former_life_of_the_host_is_not_started() -> None:
    async def body(harness: Harness) -> Outcome:
        dispatch = harness.dispatch()
        await harness.host.restart()
        return await harness.finished(harness.submit(dispatch))

    outcome = within(body)
    assert (outcome.status, outcome.reason) == (Status.ERRORED, "supervisor_lost")


def test_a_late_duplicate_is_not_started_again_until_the_group_is_released() -> None:
    async def body(harness: Harness) -> None:
        harness.driver.finish(KEY, SUCCESS)
        dispatch = harness.dispatch()
        await harness.finished(harness.submit(dispatch))
        await harness.destroyed(ID)
        harness.submit(dispatch)
        harness.dispatcher.cancel(ID, 1.0)
        harness.submit(dispatch)
        for _ in range(20):
            await asyncio.sleep(0)
        assert harness.driver.attempt(KEY).calls == [("start",), ("destroy",)]
        assert harness.sequences == [1, 2]

        harness.dispatcher.release("g")
        harness.dispatcher.cancel(AttemptId("g", "other", 1), 1.0)
        harness.dispatcher.release("g")
        harness.submit(dispatch)
        await harness.until(lambda: harness.driver.attempt(KEY).calls.count(("start",)) == 2)

    within(body)


def test_what_the_process_host_holds_for_nobody_is_forgotten() -> None:
    async def forever(run: FakeRun) -> int:
        return await run.forever()

    async def main() -> None:
        host = FakeHost({"sleep": forever})
        spec = ProcessSpec(argv=["sleep"], env={}, cwd="/")
        for key in (KEY, "g/gone/1", "g/live/1"):
            await host.spawn(key, spec, Sink())
        async with running(host=host) as harness:
            harness.dispatcher.reconcile([AttemptId("g", "live", 1)])
            harness.submit(harness.dispatch())  # of this moment: reconcile was not told of it
            await harness.running(ID)
            await harness.until(lambda: "g/gone/1" not in host._processes)
        assert await host.list() == (KEY, "g/live/1")
        await host.aclose()

    asyncio.run(main())


def test_a_dispatcher_ends_also_when_its_process_host_does_not_answer() -> None:
    class Silent(FakeHost):
        asked = False

        async def list(self) -> tuple[str, ...]:
            self.asked = True
            answer: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
            return await answer

    async def main() -> None:
        host = Silent({})
        async with asyncio.timeout(10), running(host=host) as harness:
            harness.dispatcher.reconcile([])
            await harness.until(lambda: host.asked)

    asyncio.run(main())


def test_what_former_attempts_left_is_swept_away_also_when_their_supervisor_is_gone() -> None:
    class Gone(FakeHost):
        async def list(self) -> tuple[str, ...]:
            raise ProcessHostError("it ended just now")

    async def main() -> None:
        async with running(host=Gone({})) as harness:
            harness.dispatcher.reconcile([])
            await harness.until(lambda: bool(harness.driver.swept))

    asyncio.run(main())


def test_what_former_attempts_left_is_swept_away_once_they_are_ended(caplog: pytest.LogCaptureFixture) -> None:
    class Untidy(ScriptedDriver):
        def sweep(self, temp: str, live: Collection[str]) -> None:
            raise OSError("no such folder")

    async def forever(run: FakeRun) -> int:
        return await run.forever()

    async def main() -> None:
        host = FakeHost({"sleep": forever})
        await host.spawn("g/gone/1", ProcessSpec(argv=["sleep"], env={}, cwd="/"), Sink())
        async with running(drivers=[Untidy("untidy")], host=host) as harness:
            id = harness.submit(harness.dispatch(resumed=True))
            harness.dispatcher.reconcile([id])
            other = harness.submit(harness.dispatch(Task(name="new", type="scripted")))
            await harness.until(lambda: bool(harness.driver.swept))
            assert harness.driver.swept == [("/temp", frozenset({str(id), str(other)}))]
            assert await host.list() == ()
        assert "sweep of untidy" in caplog.text

    asyncio.run(main())
