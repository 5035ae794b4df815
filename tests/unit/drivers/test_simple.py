"""`SimpleDriver`: what becomes of its coroutine's last word when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from drivers.base import SimpleDriver, Spec, TaskContext
from runner.model.result import Outcome
from runner.model.task import Task
from runner.model.value import Value
from tests.unit.dispatch.harness import bindings, running

SECRET = "hunter2hunter2"


class Complaining(SimpleDriver[Spec]):
    type = "complaining"

    async def run(self, ctx: TaskContext, spec: Spec) -> Outcome:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError(f"the token is still {SECRET}")


@pytest.mark.parametrize("way", ["the runner leaves", "nobody wants it"])
def test_what_it_raises_at_its_end_is_told_once_and_masked(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running(drivers=[Complaining()]) as harness:
            task = Task(name="t", type="complaining")
            harness.submit(harness.dispatch(task, bindings(inputs={"s": Value(SECRET, confidential=True)})))
            await harness.until(lambda: bool(harness.reports))
            if way == "nobody wants it":
                harness.dispatcher.reconcile(())
                await harness.until(lambda: "the token" in caplog.text)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
        gc.collect()
    assert [record.name for record in caplog.records] == ["runner.dispatch.complaints"]
    assert "the token is still ***" in caplog.text
    assert SECRET not in caplog.text


def test_what_it_raised_before_it_is_destroyed_is_not_told_by_anybody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(SimpleDriver[Spec]):
        type = "failing"

        async def run(self, ctx: TaskContext, spec: Spec) -> Outcome:
            raise ValueError(f"the token is {SECRET}")

    class Context:
        spec = Spec()

    async def main() -> None:
        driver = Failing()
        handle = await driver.start(Context(), "key")  # type: ignore[arg-type]  # all that it looks at
        await asyncio.sleep(0)
        await driver.destroy(handle)
        await driver.destroy(handle)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
        gc.collect()
    assert SECRET not in caplog.text
