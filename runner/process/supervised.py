"""A process of the supervisor as the runner sees it: its output on the way to the log, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from drivers.base import ProcessExit, ProcessStarted
from runner.errors import ProcessHostError
from runner.model.log import LogSink, Stream
from runner.process.poller import OutputPipe, OutputPoller

SURVIVORS_PATIENCE_SECONDS = 1.0
_STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class SupervisedProcess:
    """Implements drivers.base.Process."""

    def __init__(
        self, started: ProcessStarted, descriptors: Sequence[int], sink: LogSink, poller: OutputPoller
    ) -> None:
        """Takes over `descriptors`: the read ends of its stdout and stderr."""
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._open = len(descriptors)
        self._exit: ProcessExit | None = None
        self._error: ProcessHostError | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._pipes = [
            OutputPipe(descriptor, stream, sink, poller, self._on_end_of_stream)
            for stream, descriptor in zip(_STREAMS, descriptors, strict=True)
        ]

    @property
    def started(self) -> ProcessStarted:
        return self._started

    @property
    def exited(self) -> bool:
        return self._exit is not None

    async def wait(self) -> ProcessExit:
        if self._error is None and (self._exit is None or self._open):
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self._error is not None:
            raise self._error
        for pipe in self._pipes:
            if pipe.failure is not None:
                raise pipe.failure
        assert self._exit is not None
        return self._exit

    def redirect(self, sink: LogSink) -> None:
        """What is read from now on goes to `sink`."""
        for pipe in self._pipes:
            pipe.sink = sink

    def end(self, exit: ProcessExit) -> None:
        """The supervisor says that it exited."""
        self._exit = exit
        for pipe in self._pipes:
            pipe.drain()
        if self._open:
            # Somebody outside its process group has inherited a pipe.
            self._patience = self._loop.call_later(SURVIVORS_PATIENCE_SECONDS, self._stop_reading)
        else:
            self._wake()

    def lose(self, error: ProcessHostError) -> None:
        """The supervisor will not say how it ended. Without effect on a process whose end is known."""
        if self._exit is None or self._open:
            for pipe in self._pipes:
                pipe.drain()
            self._error = error
            self._stop_reading()

    def release(self) -> None:
        """Read no more."""
        if self._exit is None:
            self._error = ProcessHostError("the process was forgotten")
        if self._open:
            self._stop_reading()

    def _on_end_of_stream(self) -> None:
        self._open -= 1
        if not self._open and self._exit is not None:
            self._wake()

    def _stop_reading(self) -> None:
        for pipe in self._pipes:
            if self._error is None:
                pipe.drain()
            pipe.close()
        self._open = 0
        self._wake()

    def _wake(self) -> None:
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
