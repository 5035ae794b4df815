"""What a dispatcher does when its runner leaves."""

from __future__ import annotations

import asyncio

import pytest

from drivers.base import SimpleDriver, Spec, TaskContext
from runner.dispatch import local
from runner.model.dispatch import AttemptId
from runner.model.result import Outcome
from runner.model.task import Task
from runner.process.fake import FakeHost
from tests.unit.dispatch.harness import ID, KEY, SUCCESS, Harness, running, within


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


def test_a_dispatcher_ends_also_when_its_process_host_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TIDYING_SECONDS", 0.05)

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
