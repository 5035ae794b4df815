"""What attempts of former lives have left: how it is cleared, forgotten and not started again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from drivers.base import Capabilities, ProcessSpec, Recovery
from drivers.scripted import ScriptedDriver
from runner.errors import ProcessHostError
from runner.logs.memory import MemoryLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import Outcome, Status
from runner.model.task import Export, Task
from runner.model.value import Value
from runner.process.fake import FakeHost, FakeRun
from tests.contract.process_labs import Sink
from tests.unit.dispatch.harness import ID, KEY, SUCCESS, Harness, running, within

ATTACH = Capabilities(recovery=Recovery.ATTACH)


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
