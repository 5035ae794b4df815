"""The end of a command that drivers have worked in: what one of them has begun, and does not let end, must not keep the command."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from runner.cli.terminal import complain

T = TypeVar("T")

END_SECONDS = 5.0
"""How long tasks of the loop, and then threads, may take to end once all that was to be done is done."""

_THREADS = "beside the loop"

_left: list[object] = []
"""What has not ended: kept, so that nobody complains about it in words of their own."""


def run(main: Coroutine[Any, Any, T], tell: Callable[[str], None] = complain) -> T:
    """As `asyncio.run`, but for what does not end with it: that is named to `tell`, and `leave` leaves it behind."""
    loop_runner = asyncio.Runner()
    beside = ThreadPoolExecutor(thread_name_prefix=_THREADS)
    loop_runner.get_loop().set_default_executor(beside)
    try:
        return loop_runner.run(main)
    finally:
        stuck = loop_runner.get_loop().run_until_complete(_end_others())
        beside.shutdown(wait=False, cancel_futures=True)
        stuck += _end_threads()
        if stuck:
            _left.append(loop_runner)
            tell(f"what a driver has begun does not end, and is left behind: {', '.join(stuck)}")
        else:
            loop_runner.close()


async def _end_others() -> list[str]:
    """Cancel what is under way; the names of what does not end by that."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return []
    done, stuck = await asyncio.wait(others, timeout=END_SECONDS)
    for task in done:
        with suppress(asyncio.CancelledError):
            task.exception()  # else asyncio would tell of it in its own words, which nobody masks
    return sorted({task.get_name() for task in stuck})


def _end_threads() -> list[str]:
    """Wait for what works beside the loop. asyncio's own end of it would wait for ever."""
    until = time.monotonic() + END_SECONDS
    for thread in threading.enumerate():
        if thread.name.startswith(_THREADS):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return ["a thread"]
    return []


def leave(status: int) -> None:
    """End the process at once if something was left behind, which the interpreter would wait for. The last thing that is called."""
    if _left:
        os._exit(status)
