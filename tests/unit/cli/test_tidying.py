from __future__ import annotations

import asyncio
import threading

from runner.cli.tidying import Tidying


def test_it_is_done_once_beside_the_work() -> None:
    threads = []

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            threads.append(threading.current_thread())
            loop.call_soon_threadsafe(done.set)

        with Tidying(work):
            await done.wait()

    asyncio.run(main())
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_a_command_that_is_over_at_once_does_it_too() -> None:
    done: list[int] = []

    async def main() -> None:
        with Tidying(lambda: done.append(1)):
            pass

    asyncio.run(main())
    assert done == [1]


def test_a_command_does_not_wait_for_it_for_long() -> None:
    never = threading.Event()
    ended = []

    def work() -> None:
        never.wait()
        ended.append(1)

    async def main() -> None:
        with Tidying(work):
            pass

    asyncio.run(main())
    assert ended == []
    never.set()
