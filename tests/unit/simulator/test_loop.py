"""asyncio on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest

from runner.simulator.clock import VirtualClock
from runner.simulator.pair.loop import VirtualLoop


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def loop(clock: VirtualClock) -> Iterator[VirtualLoop]:
    loop = VirtualLoop(clock)
    yield loop
    loop.end()


def run(loop: VirtualLoop, clock: VirtualClock, work: Coroutine[Any, Any, Any]) -> Any:
    task = loop.create_task(work)
    clock.run_until_idle()
    return task.result()


def test_a_sleep_takes_the_time_of_the_clock(loop: VirtualLoop, clock: VirtualClock) -> None:
    async def work() -> float:
        await asyncio.sleep(60.0)
        return asyncio.get_running_loop().time()

    began = clock.now().boot
    assert run(loop, clock, work()) == began + 60.0


def test_nothing_runs_but_by_the_clock(loop: VirtualLoop, clock: VirtualClock) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("begun")

    loop.create_task(work())
    assert done == []
    clock.run_until(clock.now().boot)
    assert done == ["begun"]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_who_waits_too_long_is_told(loop: VirtualLoop, clock: VirtualClock) -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(5.0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "tired"
        return "woken"

    assert run(loop, clock, work()) == "tired"


def test_a_timeout_that_is_not_needed_leaves_no_timer(loop: VirtualLoop, clock: VirtualClock) -> None:
    async def work() -> None:
        async with asyncio.timeout(5.0):
            await asyncio.sleep(0)

    run(loop, clock, work())
    assert clock.next_due is None


def test_what_is_asked_of_a_thread_is_answered_a_turn_later(loop: VirtualLoop, clock: VirtualClock) -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("another task")

    def refuse() -> None:
        raise ValueError("no")

    async def work() -> str:
        loop.create_task(other())
        order.append(await asyncio.to_thread(str, "the thread"))
        try:
            await asyncio.to_thread(refuse)
        except ValueError as error:
            return str(error)
        return ""

    assert run(loop, clock, work()) == "no"
    assert order == ["another task", "the thread"]


def test_an_end_cleans_up_and_lets_nothing_wait(clock: VirtualClock) -> None:
    loop, done = VirtualLoop(clock), []

    async def messages() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("generator")

    async def work() -> None:
        try:
            async for _ in messages():
                pass
        finally:
            done.append("task")

    loop.create_task(work())
    loop.call_later(9.0, done.append, "late")
    clock.run_until(clock.now().boot + 1.0)
    loop.end()
    clock.run_until_idle()
    assert done == ["generator", "task"]
    assert loop.is_closed()


def test_what_nobody_takes_is_kept(loop: VirtualLoop, clock: VirtualClock) -> None:
    def fail() -> None:
        raise ValueError("lost")

    loop.call_soon(fail)
    clock.run_until_idle()
    assert [str(fault) for fault in loop.faults] == ["lost"]
