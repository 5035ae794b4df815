"""Calls that go on for long, and whoever has lost what he needs for his: they are looked at again and again, and cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import grpc
from msgspec import Struct

from runner.rpc.identity import Caller, Context, Proof

AT_ONCE = 200
"""How many calls are looked at in one turn of the loop: some milliseconds."""
LEAST_SECONDS = 0.05
TELLING_SECONDS = 3.0
"""How long a caller may take to hear why: one who stands still takes nothing, not even that."""

Judge = Callable[[Proof, str, Caller], Exception | None]
"""Why a call of this method has to end, if it has to, by somebody who was this caller when it began."""
Abort = Callable[[Context, Exception], Awaitable[object]]


class _Call(Struct, eq=False):
    """`answers` whether it gives a stream; `error` is why it had to end; `left` that it is not to be cut any more."""

    context: Context
    proof: Proof
    method: str
    caller: Caller
    answers: bool
    task: asyncio.Task[object]
    error: Exception | None = None
    left: bool = False


class Ongoing:
    def __init__(self, judge: Judge, abort: Abort, seconds: float) -> None:
        """All are looked at every `seconds`."""
        self._judge = judge
        self._abort = abort
        self._seconds = max(LEAST_SECONDS, seconds)
        self._calls: dict[_Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._cutting: set[asyncio.Task[None]] = set()

    @contextmanager
    def counted(self, context: Context, proof: Proof, method: str, caller: Caller, *, answers: bool) -> Iterator[None]:
        """While this is entered, by the task of the call, that is cancelled once the call has to end. Raises why, but where the call
        `answers` with a stream: its caller has been told that."""
        task = asyncio.current_task()
        assert task is not None, "a call has a task"
        call = _Call(context, proof, method, caller, answers, task)
        self._calls[call] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.look)
        try:
            yield
        except asyncio.CancelledError:
            if call.error is None or answers:
                raise
            task.uncancel()
            raise call.error from None
        finally:
            call.left = True
            self._calls.pop(call, None)

    def look(self) -> None:
        """At all, from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._look_at(list(self._calls))

    def _look_at(self, calls: list[_Call]) -> None:
        loop = asyncio.get_running_loop()
        # First, so that the others are looked at whatever becomes of these.
        if len(calls) > AT_ONCE:
            self._timer = loop.call_later(0, self._look_at, calls[AT_ONCE:])
        else:
            self._timer = loop.call_later(self._seconds, self.look) if self._calls else None
        for call in islice(calls, AT_ONCE):
            if call in self._calls and (error := self._judge(call.proof, call.method, call.caller)) is not None:
                del self._calls[call]
                cutting = loop.create_task(self._cut(call, error))
                self._cutting.add(cutting)
                cutting.add_done_callback(self._cutting.discard)

    async def _cut(self, call: _Call, error: Exception) -> None:
        """Whatever it waits for: that something happens, or that its caller sends something or takes it. In that no cancellation is
        of use, hence he is told first; to one that sends that would look like the end of what he sends."""
        if call.left or call.task.done() or call.context.cancelled():
            return  # it has come to its end, and must not be touched
        call.error = error
        if call.answers:
            with suppress(
                TimeoutError, grpc.aio.AbortError, grpc.aio.BaseError, grpc.aio.InternalError, grpc.aio.UsageError
            ):
                async with asyncio.timeout(TELLING_SECONDS):
                    await self._abort(call.context, error)
        call.task.cancel()
