"""Reads the output of all processes of one host and hands it to their sinks."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

from runner.model.log import LogSink, Stream

_READ_BYTES = 256 << 10
_PIPES_PER_TURN = 16  # what is left comes in the loop's next turn, so that nobody else waits long
_LAST_READS = 8


class OutputPipe:
    """The read end of one pipe, non-blocking. Writes into `sink` until the end of the stream, or until it is closed."""

    __slots__ = ("_ended", "_poller", "_stream", "descriptor", "failure", "sink")

    def __init__(
        self, descriptor: int, stream: Stream, sink: LogSink, poller: OutputPoller, ended: Callable[[], None]
    ) -> None:
        """`ended` is called once at the end of the stream, not after `close`."""
        self.descriptor = descriptor
        self.sink = sink
        self.failure: Exception | None = None
        """Why the sink did not take the output. What follows is read and lost, so that the process can end."""
        self._stream = stream
        self._poller = poller
        self._ended = ended
        poller.add(self)

    @property
    def closed(self) -> bool:
        return self.descriptor < 0

    def read(self) -> bool:
        """Read once; False when there is nothing to be read now or ever."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            self._ended()
            return False
        if self.failure is None:
            try:
                self.sink.write(self._stream, data)
            except Exception as error:  # noqa: BLE001 - a sink's trouble is its process's, not all others'
                self.failure = error
        return True

    def drain(self) -> None:
        """Read what is there; the last of a pipe whose writers are expected to be gone."""
        for _ in range(_LAST_READS):
            if self.closed or not self.read():
                return

    def close(self) -> None:
        """Read no more. May be repeated."""
        if not self.closed:
            self._poller.remove(self)
            os.close(self.descriptor)
            self.descriptor = -1


class OutputPoller:
    """All pipes behind one descriptor on the loop: asyncio's own bookkeeping for each would cost more than the reading."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipes: dict[int, OutputPipe] = {}
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)

    def add(self, pipe: OutputPipe) -> None:
        self._epoll.register(pipe.descriptor, select.EPOLLIN)
        self._pipes[pipe.descriptor] = pipe

    def remove(self, pipe: OutputPipe) -> None:
        # Closing is not enough: the supervisor's duplicate keeps the registration alive.
        self._epoll.unregister(pipe.descriptor)
        del self._pipes[pipe.descriptor]

    def close(self) -> None:
        """Close all pipes. May be repeated."""
        if not self._epoll.closed:
            for pipe in list(self._pipes.values()):
                pipe.close()
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _on_ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0, _PIPES_PER_TURN):
            pipe = self._pipes.get(descriptor)
            if pipe is not None:
                pipe.read()
