"""What an engine makes of groups whose deadlines passed, or whose clock was set, while there was none."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from runner.clock import Moment, SystemClock
from runner.engine.engine import Engine
from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Retry, Task, When
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.base import AttemptRow, Batch, GroupRow, TaskRow
from runner.store.memory import MemoryStore
from tests.unit.dispatch.harness import Harness, within


def _accepted(group: TaskGroup, at: Moment) -> GroupRow:
    return GroupRow(
        id="g",
        public_id="g",
        caller="",
        name="",
        digest="",
        document=codec.encode_group(group),
        inputs=b"{}",
        accepted=at,
    )


def _group(when: When = When.SUCCESS) -> TaskGroup:
    return TaskGroup(name="g", timeout=60.0, cleanup_timeout=30.0, tasks=(Task(name="a", type="scripted", when=when),))


def _ago(seconds: float) -> Moment:
    now = SystemClock().now()
    return replace(now, wall=now.wall - seconds, boot=now.boot - seconds)


async def _over(store: MemoryStore, harness: Harness) -> Engine:
    """An engine that took up what the store holds, once the group is over."""
    engine = Engine(
        store=store, clock=SystemClock(), dispatcher=harness.dispatcher, sealer=Sealer.ephemeral(), max_parallel=8
    )
    engine.recover()
    await harness.until(lambda: engine.status("g").terminal)
    return engine


def test_nothing_is_begun_behind_a_timeout_that_passed_meanwhile() -> None:
    async def body(harness: Harness) -> None:
        store = MemoryStore(asyncio.get_running_loop().call_soon)
        store.accept_group(_accepted(_group(), _ago(61.0)), [])
        result = (await _over(store, harness)).result("g")
        assert (result.status, result.reason) == (Status.ABORTED, "group_timeout")
        assert result.results["a"].reason == "group_aborted"
        assert harness.driver.started == []

    within(body)


def test_no_clean_up_is_begun_when_its_time_has_passed_meanwhile() -> None:
    async def body(harness: Harness) -> None:
        store = MemoryStore(asyncio.get_running_loop().call_soon)
        row = _accepted(_group(When.ALWAYS), _ago(59.0))
        store.accept_group(row, [])
        store.record(Batch(groups=[replace(row, abort="cancelled", abort_at=_ago(31.0), abort_count=1)]))
        result = (await _over(store, harness)).result("g")
        assert (result.status, result.reason) == (Status.ABORTED, "cancelled")
        assert result.results["a"].reason == "group_aborted"
        assert harness.driver.started == []

    within(body)


def test_a_wall_clock_that_was_set_back_does_not_prolong_the_wait_for_a_retry() -> None:
    clock = VirtualClock(wall=1_000.0, boot=5.0, boot_id="now")
    executor = ScriptedExecutor(clock, lambda id: Script())
    task = Task(name="a", type="scripted", retry=Retry(attempts=2, delay=10.0))
    store = MemoryStore(clock.call_soon)
    before = Moment(wall=1_700_000_000.0, boot=100.0, boot_id="before")
    row = _accepted(TaskGroup(name="g", tasks=(task,)), before)
    store.accept_group(row, [])
    failed = Outcome(status=Status.FAILED, exit_code=1)
    store.record(
        Batch(
            groups=[replace(row, status=Status.RUNNING)],
            tasks=[
                TaskRow(
                    group="g", name="a", index=0, status=Status.PENDING, waiting="retry_delay", attempt=1,
                    retry_at=replace(before, wall=before.wall + 8.0, boot=108.0),
                )
            ],
            attempts=[
                AttemptRow(
                    group="g", task="a", attempt=1, status=Status.FAILED, runner="local", instance="old",
                    dispatched=before, outcome=codec.encode_outcome(failed),
                )
            ],
        )
    )  # fmt: skip
    engine = Engine(store=store, clock=clock, dispatcher=executor, sealer=Sealer.ephemeral(), max_parallel=8)
    engine.recover()
    clock.run_until(clock.now().boot + 12.6)  # the delay and its jitter
    assert executor.starts[executor.instance, AttemptId("g", "a", 2)] == 1
    assert engine.status("g") is Status.SUCCESS
