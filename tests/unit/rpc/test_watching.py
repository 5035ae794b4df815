from __future__ import annotations

import asyncio

from runner.clock import SystemClock
from runner.config.service import Limits
from runner.engine.engine import Engine
from runner.engine.story import Part
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId
from runner.model.group import TaskGroup
from runner.model.task import Task
from runner.rpc.following import Watch
from runner.rpc.traffic import Traffic
from runner.sealing import Sealer
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.memory import MemoryStore
from runner.v1 import runner_pb2 as pb

GROUP = TaskGroup(
    tasks=tuple(
        Task(name=name, type="os_exec", depends_on=needs) for name, needs in (("a", ()), ("b", ("a",)), ("c", ("b",)))
    )
)


class Patient(Watch):
    """Gathers until nothing more can come."""

    gather_seconds = 1e6


class Slow(Watch):
    """Gathers for longer than it takes until nothing more comes of itself."""

    gather_seconds = 0.5


async def test_what_follows_a_message_is_gathered_until_the_group_is_over() -> None:
    messages = await _messages(Patient, {})
    assert len(messages) == 2
    assert [happening.event.WhichOneof("fact") for happening in messages[1].happenings][-1] == "group_finished"


async def test_what_is_gathered_is_told_when_its_time_has_come() -> None:
    """Of a group of which nothing more would be told: its last task never ends."""
    engine = _engine({"c": Script(start_after=0.0, duration=1e6)})
    id = engine.submit(GROUP)
    watched = Slow(engine, MemoryLogStore(), Traffic(Limits()), id, Part(output=False)).run()
    async for message in watched:
        if any(each.event.task == "c" and each.event.HasField("task_started") for each in message.happenings):
            break
    await watched.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_each_is_told_once_and_in_order() -> None:
    for kind in (Watch, Patient):
        messages = await _messages(kind, {})
        numbers = [happening.event.number for message in messages for happening in message.happenings]
        assert numbers == list(range(1, len(numbers) + 1))


async def _messages(kind: type[Watch], scripts: dict[str, Script]) -> list[pb.WatchTaskGroupResponse]:
    engine = _engine(scripts)
    id = engine.submit(GROUP)
    return [
        message async for message in kind(engine, MemoryLogStore(), Traffic(Limits()), id, Part(output=False)).run()
    ]


def _engine(scripts: dict[str, Script]) -> Engine:
    clock = SystemClock(asyncio.get_running_loop())

    def script(id: AttemptId) -> Script:
        return scripts.get(id.task, Script(start_after=0.0, duration=0.001))

    return Engine(
        store=MemoryStore(clock.call_soon),
        clock=clock,
        dispatcher=ScriptedExecutor(clock, script),
        sealer=Sealer.ephemeral(),
        max_parallel=2,
    )
