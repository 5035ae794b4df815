"""How long an attempt may take, and how long the runner waits for a driver."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from runner.clock import Clock, Timer

T = TypeVar("T")


class OutOfPatienceError(Exception):
    """The driver did not come back in time."""


async def within(seconds: float, work: Awaitable[T]) -> T:
    """`work`; raises TimeoutError when it takes longer. What is done without waiting, as most is, costs no timer."""
    steps = work.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _rest(steps, waits_for)


@types.coroutine
def _rest(steps: Generator[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The rest of some work that has begun to wait for something."""
    while True:
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the work
            try:
                waits_for = steps.throw(error)
            except StopIteration as done:
                result: T = done.value
                return result
        else:
            return (yield from steps)


class Deadline:
    """Calls back after `seconds`, not counting the time for which it is held."""

    def __init__(self, clock: Clock, seconds: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._left = seconds
        self._due = 0.0
        self._timer: Timer | None = None
        self.go_on()

    def hold(self) -> None:
        if self._timer is not None:
            self._left = max(0.0, self._due - self._clock.now().boot)
            self.cancel()

    def go_on(self) -> None:
        if self._timer is None:
            self._due = self._clock.now().boot + self._left
            self._timer = self._clock.call_at(self._due, self._callback)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Patience:
    """Waits for something for as long as it takes, until somebody says how long that may be at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer | None = None
        self._task: asyncio.Task[Any] | None = None
        self._waiting = False
        self._over = False

    async def wait(self, work: Awaitable[T]) -> T:
        """`work`; raises OutOfPatienceError when it takes too long. One at a time, and always from the same task."""
        # What `asyncio.timeout` does, of which a task would need three, and most of them never strike.
        if self._task is None:
            self._task = asyncio.current_task()
        self._waiting, self._over = True, False
        try:
            return await work
        except asyncio.CancelledError:
            if self._over and self._task is not None and not self._task.uncancel():
                raise OutOfPatienceError from None
            raise
        finally:
            self._waiting = False

    def end_in(self, seconds: float) -> None:
        """What is being waited for then is given up on. A later call replaces an earlier one."""
        self.cancel()
        self._timer = self._clock.call_at(self._clock.now().boot + seconds, self._end)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if self._waiting and self._task is not None and not self._over:
            self._over = True
            self._task.cancel()
