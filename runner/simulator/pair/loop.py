"""An asyncio loop whose time is that of a `Clock`: what is written for asyncio runs on it as it is, and always in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from runner.clock import Clock, Timer

T = TypeVar("T")


class VirtualLoop(asyncio.AbstractEventLoop):
    """It runs when its clock does, a callback a turn, and has no sockets. What is asked of other threads is done at once, and its answer
    comes a turn later. `faults` are what was raised that nobody has taken."""

    def __init__(self, clock: Clock) -> None:
        self.faults: list[BaseException] = []
        self._clock = clock
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: dict[asyncio.TimerHandle, Timer] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._closed = False

    def end(self) -> None:
        """As if its process were killed: nobody waits for anything any more. What was to be cleaned up is, so that nothing is left of
        it here."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in list(self._tasks):
            task.cancel()
        while self._ready:
            self._run_next()
        self._closed = True

    def time(self) -> float:
        return self._clock.now().boot

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._clock.call_soon(self._run_next)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)

        def due() -> None:
            self._timers.pop(handle, None)
            self._run(handle)

        self._timers[handle] = self._clock.call_at(when, due)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T], **more: Any) -> asyncio.Task[T]:  # type: ignore[override] # it is a coroutine
        task = asyncio.Task(coro, loop=self, **more)
        self._tasks[task] = None
        task.add_done_callback(lambda _: self._tasks.pop(task, None))
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = self.create_future()
        try:
            answer = func(*args)
        except Exception as error:
            self.call_soon(_put, future.set_exception, error)
        else:
            self.call_soon(_put, future.set_result, answer)
        return future

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context.get("exception") or RuntimeError(context["message"]))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        timer = self._timers.pop(handle, None)
        if timer is not None:
            timer.cancel()

    def _run_next(self) -> None:
        if self._ready:
            self._run(self._ready.popleft())

    def _run(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(outer)


def _put(put: Callable[[Any], None], answer: Any) -> None:
    future: asyncio.Future[Any] = put.__self__  # type: ignore[attr-defined]
    if not future.done():
        put(answer)
