"""A process of the supervisor as the runner sees it: its output on the way to the log, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec.structs import asdict

from drivers.base import ProcessExit, ProcessSpec, ProcessStarted
from runner.errors import ProcessHostError
from runner.model.log import LogSink
from runner.process.output import Output, OutputQueue, Reader, drain, read_rest

SURVIVORS_PATIENCE_SECONDS = 1.0


class Supervisor(Protocol):
    """What a process asks its supervisor."""

    def consume(self, key: str, output: Output, taken: bool) -> None:
        """All of `output` up to its position is kept; `taken`: and gone from the pipe."""

    def synchronise(self, done: Callable[[], None]) -> None:
        """Call `done` once all that was asked before is done. Never, if the supervisor is lost."""


class SupervisedProcess:
    """Implements drivers.base.Process."""

    def __init__(
        self, key: str, started: ProcessStarted, sink: LogSink, queue: OutputQueue, supervisor: Supervisor
    ) -> None:
        self._key = key
        self._started = started
        self._sink = sink
        self._queue = queue
        self._supervisor = supervisor
        self._outputs: dict[int, Output] = {}
        """By stream; what never wrote is not in it."""
        self._exit: ProcessExit | None = None
        self._ends: list[int | None] = []
        self._error: ProcessHostError | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._over = False
        """It has ended, and all that it wrote has arrived; or nobody waits for that any longer."""
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def started(self) -> ProcessStarted:
        return self._started

    @property
    def exited(self) -> bool:
        return self._exit is not None

    async def wait(self) -> ProcessExit:
        if not self._over:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error
        for output in self._outputs.values():
            if output.failure is not None:
                raise output.failure
        assert self._exit is not None
        return self._exit

    def redirect(self, sink: LogSink) -> None:
        """What is read from now on goes to `sink`."""
        self._sink = sink
        for output in self._outputs.values():
            output.sink = sink

    def begin(self, index: int, position: int) -> None:
        """The supervisor says that what was written before `position` is gone."""
        self._output(index).miss(position)

    def written(self, index: int, at: int, descriptor: int | None) -> None:
        """The supervisor says that something is in a pipe, which begins with position `at`."""
        output = self._output(index)
        if descriptor is not None:
            output.hold(descriptor)
        output.at = at
        output.settled = True
        self._queue.add(self, output)

    def hold(self, index: int, at: int, descriptor: int) -> None:
        """The other pipe of a process that has written something: what may come there is looked at before that is shown."""
        output = self._output(index)
        output.hold(descriptor)
        output.at = at

    def take(self, reader: Reader, output: Output) -> int:
        """Implements runner.process.output.Source. What the other stream has been told before is looked at first, for it may
        name what must not be shown."""
        if self._over or output.at is None:
            return 0
        others = self._others(output)
        unsettled = [other for other in others if not other.settled and other.at is None and other.unread]
        if unsettled and not reader.taken:
            self._supervisor.synchronise(partial(self._settled, unsettled, output))
            return 0
        before = [other.position for other in others]
        count = output.take(reader, output.at, others)
        output.at = None
        output.settled = False
        self._supervisor.consume(self._key, output, reader.taken)
        for other, position in zip(others, before, strict=True):
            if other.position > position:
                self._supervisor.consume(self._key, other, reader.taken)
        for one in (output, *others):
            if one.ahead:
                one.at = one.position
                self._queue.add(self, one)
        self._look()
        return count

    def _others(self, output: Output) -> list[Output]:
        return [other for other in self._outputs.values() if other is not output and other.descriptor >= 0]

    def _settled(self, outputs: Sequence[Output], waiting: Output) -> None:
        for output in outputs:
            output.settled = True
        self._queue.add(self, waiting)

    def end(self, exit: ProcessExit, ends: Sequence[int | None]) -> None:
        """The supervisor says that it exited, and how much it had written."""
        self._exit = exit
        self._ends = list(ends)
        if self._queue_takes():
            drain(list(self._outputs.values()), self._queue.reader)
        self._look()
        if not self._over and None in self._ends:
            # Somebody outside its process group has inherited a pipe.
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(SURVIVORS_PATIENCE_SECONDS, self._finish)

    def end_of(self, index: int, end: int) -> None:
        """The supervisor says how much was written into a pipe that outlived the process."""
        if self._ends:
            self._ends[index] = end
            self._look()

    def lose(self, error: ProcessHostError) -> None:
        """The supervisor will not say how it ended. Without effect on a process whose end is known."""
        if not self._over:
            read_rest(list(self._outputs.values()))
            self._error = error
            self._finish()

    def release(self) -> None:
        """Read no more."""
        if self._exit is None:
            self._error = ProcessHostError("the process was forgotten")
        self._finish()

    def _output(self, index: int) -> Output:
        output = self._outputs.get(index)
        if output is None:
            output = self._outputs[index] = Output(index, self._sink)
        return output

    def _queue_takes(self) -> bool:
        """Whether what was read is gone from the pipe, so that only an empty pipe tells that all was read."""
        return bool(self._outputs) and self._queue.reader.taken

    def _look(self) -> None:
        if self._exit is None:
            return
        for index, end in enumerate(self._ends):
            if end is None or (end and self._output(index).position < end):
                return
        self._finish()

    def _finish(self) -> None:
        self._over = True
        for output in self._outputs.values():
            output.release()
        if self._patience is not None:
            self._patience.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


def process_exit(record: Mapping[str, Any]) -> ProcessExit:
    """The supervisor's exit record as a value; fields that only a newer supervisor knows are left out."""
    return ProcessExit(
        exit_code=record["exit_code"],
        signal=record["signal"],
        cause=record["cause"],
        started_at=record["started_at"],
        finished_at=record["finished_at"],
        kill=record["kill"],
    )


def surroundings(spec: ProcessSpec) -> dict[str, Any]:
    """What few processes ask for, and only that."""
    wanted: dict[str, Any] = {}
    if spec.stdin is not None:
        wanted["stdin"] = spec.stdin
    if spec.user is not None:
        wanted["user"] = [spec.user.uid, spec.user.gid, list(spec.user.groups)]
    if spec.limits is not None:
        limits = {name: value for name, value in asdict(spec.limits).items() if value is not None}
        if limits:
            wanted["limits"] = limits
    return wanted
