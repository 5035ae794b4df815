from __future__ import annotations

import asyncio

import pytest

from runner.dispatch.timing import Deadline, OutOfPatienceError, Patience, within
from runner.simulator.clock import VirtualClock


def test_a_deadline_stands_still_while_it_is_held() -> None:
    clock = VirtualClock()
    start = clock.now().boot
    struck: list[float] = []
    deadline = Deadline(clock, 10.0, lambda: struck.append(clock.now().boot - start))
    clock.run_until(start + 4.0)
    deadline.hold()
    deadline.hold()
    clock.run_until(start + 100.0)
    assert struck == []
    deadline.go_on()
    deadline.go_on()
    clock.run_until(start + 200.0)
    assert struck == [106.0]


def test_a_cancelled_deadline_never_strikes() -> None:
    clock = VirtualClock()
    deadline = Deadline(clock, 10.0, lambda: pytest.fail("it struck"))
    deadline.cancel()
    deadline.cancel()
    clock.run_until_idle()


def test_patience_ends_when_it_is_told_to() -> None:
    clock = VirtualClock()

    async def main() -> None:
        patience = Patience(clock)
        patience.end_in(1.0)
        patience.end_in(5.0)
        loop = asyncio.get_running_loop()
        loop.call_soon(clock.run_until, clock.now().boot + 4.0)
        loop.call_soon(clock.run_until, clock.now().boot + 6.0)
        with pytest.raises(OutOfPatienceError):
            await patience.wait(loop.create_future())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_patience_that_ends_while_nothing_is_waited_for_is_harmless() -> None:
    clock = VirtualClock()

    async def main() -> str:
        patience = Patience(clock)
        patience.end_in(1.0)
        clock.run_until_idle()
        return await patience.wait(asyncio.sleep(0, "done"))

    assert asyncio.run(main()) == "done"


def test_a_timeout_of_the_work_itself_is_not_mistaken() -> None:
    async def work() -> None:
        raise TimeoutError("mine")

    async def main() -> None:
        with pytest.raises(TimeoutError, match="mine"):
            await Patience(VirtualClock()).wait(work())

    asyncio.run(main())


def test_what_is_done_without_waiting_may_take_no_time_at_all() -> None:
    async def done() -> str:
        return "done"

    async def refused() -> str:
        raise ValueError("no")

    async def main() -> None:
        assert await within(0.0, done()) == "done"
        with pytest.raises(ValueError, match="no"):
            await within(0.0, refused())

    asyncio.run(main())


def test_what_waits_goes_on_until_its_time_is_up() -> None:
    async def main() -> None:
        event = asyncio.Event()
        seen: list[str] = []

        async def work() -> str:
            await asyncio.sleep(0)
            seen.append("began")
            try:
                await event.wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                await asyncio.sleep(0)
                seen.append("cleaned up")
                raise
            return "done"

        asyncio.get_running_loop().call_soon(event.set)
        assert await within(60.0, work()) == "done"
        event.clear()
        with pytest.raises(TimeoutError):
            await within(0.01, work())
        assert seen == ["began", "began", "cancelled", "cleaned up"]

    asyncio.run(main())


def test_what_waits_is_cancelled_where_it_waits_first() -> None:
    async def main() -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen: list[str] = []

        async def stubborn() -> str:
            try:
                begun.set_result(None)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                await asyncio.sleep(0)
            return "done all the same"

        task = asyncio.ensure_future(within(60.0, stubborn()))
        await begun
        task.cancel()
        assert await task == "done all the same"
        assert seen == ["cancelled"]

    asyncio.run(main())
