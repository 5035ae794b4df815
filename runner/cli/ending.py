"""The end of a command that drivers have worked in: what one of them has begun, and does not let end, must not keep the command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from runner.cli.terminal import complain

T = TypeVar("T")

END_SECONDS = 5.0
"""How long tasks of the loop, and then threads, may take to end once all that was to be done is done."""

_left: list[object] = []
"""What has not ended: kept, so that nobody complains about it in words of their own."""


def run(main: Coroutine[Any, Any, T], tell: Callable[[str], None] = complain) -> T:
    """As `asyncio.run`, but for what does not end with it: that is named to `tell`, and `leave` leaves it behind."""
    loop_runner = asyncio.Runner()
    try:
        return loop_runner.run(main)
    finally:
        loop = loop_runner.get_loop()
        stuck = loop.run_until_complete(_end_others())
        if not stuck:
            try:
                loop.run_until_complete(asyncio.wait_for(loop.shutdown_default_executor(), END_SECONDS))
            except TimeoutError:
                stuck = ["a thread"]
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
    return sorted({getattr(task.get_coro(), "__qualname__", "a task") for task in stuck})


def leave(status: int) -> None:
    """End the process at once if something was left behind, which the interpreter would wait for. The last thing that is called."""
    if _left:
        os._exit(status)
