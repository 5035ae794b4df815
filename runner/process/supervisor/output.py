"""What the children write, on its way to the runner. The runner copies from a pipe (with tee); this process alone consumes.

So nothing is lost whenever the runner dies: what it has not kept is still in the pipe, and what it has kept is told by it.
A pipe's read end is sent to the runner with the first bytes that are in it, and with it that of the process's other pipe, which
the runner looks into before it shows anything. Of a child that prints nothing the runner never sees a pipe.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Callable
    from typing import Any

    from runner.process.supervisor.record import Record

    Send = Callable[[dict[str, Any], tuple[int, ...]], None]

STREAMS = 2
LARGE_PIPE_BYTES = 1 << 20
"""A pipe that is found full is enlarged to this: an unprivileged user has 64 MiB for all of them."""
_FULL_BYTES = 64 << 10
_SPLICE_NONBLOCK = 2


class Pipe:
    """One stream of one process. Positions count the bytes that were written into it."""

    __slots__ = (
        "armed",
        "consumed",
        "descriptor",
        "end",
        "enlarged",
        "held",
        "index",
        "known",
        "record",
        "sent",
        "told",
    )

    def __init__(self, record: Record, index: int, descriptor: int) -> None:
        self.record = record
        self.index = index
        self.descriptor = descriptor
        """The read end; -1 once all has been consumed and nobody can write any more."""
        self.consumed = 0
        self.armed = False
        """It was given to the poll before."""
        self.told = False
        """The present runner knows that something is in it, and has not answered yet."""
        self.known = False
        """The present runner has the read end."""
        self.sent = False
        """Some runner was given the read end."""
        self.enlarged = False
        self.end: int | None = None
        """How much was written in all, once the process has ended."""
        self.held = False
        """Somebody else could still write when the process ended."""


class Outputs:
    """The pipes of all records. Nothing here blocks."""

    def __init__(self, epoll: select.epoll, send: Send, discard: Callable[[int], None]) -> None:
        """`send` reaches the present runner; `discard` closes a descriptor that may still be on its way to one."""
        self._epoll = epoll
        self._send = send
        self._discard = discard
        self._pipes: dict[int, Pipe] = {}
        """By descriptor."""
        self._size = array.array("i", [0])
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def add(self, record: Record, descriptors: tuple[int, ...]) -> None:
        """Look after the output of a process that was just started."""
        record.pipes = tuple(Pipe(record, index, descriptor) for index, descriptor in enumerate(descriptors))
        for pipe in record.pipes:
            self._pipes[pipe.descriptor] = pipe
            self._arm(pipe)

    def on_events(self, ready: list[tuple[int, int]]) -> None:
        """What the poll says of pipes, and of others that are none of ours: something was written, or nobody is left who
        could write."""
        for descriptor, event in ready:
            pipe = self._pipes.get(descriptor)
            if pipe is None:
                continue
            if not event & select.EPOLLIN:
                self._close(pipe)
            elif pipe.record.watched:
                self._tell(pipe)

    def watch(self, record: Record) -> None:
        """A runner listens from now on, which has got none of the descriptors yet."""
        for pipe in record.pipes:
            pipe.told = pipe.known = False
            if pipe.descriptor >= 0:
                self._arm(pipe)

    def look(self, record: Record) -> list[int | None]:
        """The process has ended: how much it has written, by stream; None where somebody else can go on writing. What was
        not told yet of this output is told."""
        return [self._end(pipe) for pipe in record.pipes]

    def consume(self, record: Record, index: int, position: int, *, taken: bool) -> None:
        """The runner has kept all up to `position`; `taken`: it has read it itself, instead of copying."""
        pipe = record.pipes[index]
        if pipe.descriptor < 0:
            return
        pipe.told = False
        if not pipe.enlarged and self._unread(pipe) >= _FULL_BYTES:
            self._enlarge(pipe)
        while not taken and pipe.consumed < position:
            missing = position - pipe.consumed
            try:
                count = os.splice(pipe.descriptor, self._nowhere, missing, flags=_SPLICE_NONBLOCK)
            except BlockingIOError:
                break
            except OSError:  # forbidden here; the bytes are there, for the runner has seen them
                count = len(os.read(pipe.descriptor, min(missing, LARGE_PIPE_BYTES)))
            if not count:
                break
            pipe.consumed += count
        if taken:
            pipe.consumed = max(pipe.consumed, position)
        if pipe.end is not None and pipe.consumed >= pipe.end and not taken:
            self._close(pipe)
        else:
            self._arm(pipe)

    def drop(self, record: Record) -> None:
        """Nobody is interested any more."""
        for pipe in record.pipes:
            if pipe.descriptor >= 0:
                self._close(pipe)
        record.pipes = ()  # each knows its record: what is over is freed without a walk of Python's collector

    def _arm(self, pipe: Pipe) -> None:
        """Report the next that happens to it, once."""
        event = select.EPOLLIN | select.EPOLLONESHOT
        if pipe.armed:
            self._epoll.modify(pipe.descriptor, event)
        else:
            pipe.armed = True
            self._epoll.register(pipe.descriptor, event)

    def _tell(self, pipe: Pipe) -> None:
        if pipe.told:
            return
        pipe.told = True
        for other in pipe.record.pipes:
            if other is not pipe and not other.known and other.descriptor >= 0:
                self._mention("pipe", other)
        self._mention("output", pipe)

    def _mention(self, operation: str, pipe: Pipe) -> None:
        descriptors = () if pipe.known else (pipe.descriptor,)
        pipe.known = pipe.sent = True
        message = {"op": operation, "key": pipe.record.key, "stream": pipe.index, "at": pipe.consumed}
        self._send({**message, "fd": True} if descriptors else message, descriptors)

    def _enlarge(self, pipe: Pipe) -> None:
        pipe.enlarged = True
        try:  # noqa: SIM105 - contextlib is slow to import
            fcntl.fcntl(pipe.descriptor, fcntl.F_SETPIPE_SZ, LARGE_PIPE_BYTES)
        except OSError:  # the user's share of pipes is used up: it stays as it is
            pass

    def _end(self, pipe: Pipe) -> int | None:
        if pipe.descriptor >= 0:
            unread = self._unread(pipe)
            if unread and pipe.record.watched:
                self._tell(pipe)
            if self._is_closed(pipe):
                pipe.end = pipe.consumed + unread
                if not unread:
                    self._close(pipe)
            else:
                pipe.held = True
        return pipe.end

    def _unread(self, pipe: Pipe) -> int:
        fcntl.ioctl(pipe.descriptor, termios.FIONREAD, self._size, True)
        return self._size[0]

    def _is_closed(self, pipe: Pipe) -> bool:
        """Whether nobody can write any more."""
        poll = select.poll()
        poll.register(pipe.descriptor, select.POLLIN)
        events = poll.poll(0)
        return bool(events and events[0][1] & select.POLLHUP)

    def _close(self, pipe: Pipe) -> None:
        del self._pipes[pipe.descriptor]
        if pipe.sent:
            # The runner's copy would keep the registration alive, and the number may be used again.
            self._epoll.unregister(pipe.descriptor)
            self._discard(pipe.descriptor)
        else:
            os.close(pipe.descriptor)
        pipe.descriptor = -1
        pipe.end = pipe.consumed
        if pipe.held and pipe.record.watched:
            self._send({"op": "ended", "key": pipe.record.key, "stream": pipe.index, "end": pipe.end}, ())
