from __future__ import annotations

import asyncio

import pytest

from runner.dispatch.timing import Deadline, OutOfPatienceError, Patience
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
