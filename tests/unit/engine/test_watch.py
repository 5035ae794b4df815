from __future__ import annotations

import asyncio

import pytest

from runner.clock import SystemClock
from runner.engine.engine import Engine
from runner.engine.watch import watch
from runner.errors import GroupNotFoundError
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.task import Task
from runner.sealing import Sealer
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.memory import MemoryStore

GROUP = TaskGroup(tasks=tuple(Task(name=name, type="os_exec") for name in "abc"))


def _engine() -> Engine:
    clock = SystemClock()
    return Engine(
        store=MemoryStore(clock.call_soon),
        clock=clock,
        dispatcher=ScriptedExecutor(clock, lambda id: Script(start_after=0.0, duration=0.001)),
        sealer=Sealer.ephemeral(),
        max_parallel=2,
    )


async def _numbers(engine: Engine, id: str, after: int = 0) -> list[int]:
    return [event.number async for events in watch(engine, id, after) for event in events]


def test_a_watcher_sees_every_event_once_until_the_group_is_over() -> None:
    async def main() -> None:
        engine = _engine()
        id = engine.submit(GROUP)
        early, again = await asyncio.gather(_numbers(engine, id), _numbers(engine, id))
        assert early == again == list(range(1, len(early) + 1))
        assert engine.events(id)[-1].kind is Kind.GROUP_FINISHED
        assert await _numbers(engine, id, after=3) == early[3:]
        assert await _numbers(engine, id, after=early[-1]) == []

    asyncio.run(main())


def test_watching_an_unknown_group() -> None:
    async def main() -> None:
        with pytest.raises(GroupNotFoundError, match="no group with the id 'nope'"):
            await _numbers(_engine(), "nope")

    asyncio.run(main())
