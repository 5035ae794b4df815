"""Brings what processes wrote from their pipes to their sinks, and tells the supervisor what need not be kept any more."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import termios
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from runner.errors import StoreCorruptError
from runner.model.log import STREAMS, LogSink
from runner.process import tee

_PIECE_BYTES = 256 << 10
_BYTES_PER_TURN = 1 << 20  # what is left comes in the loop's next turn, so that nobody else waits long
_LAST_PIECES = 8
_TURNS = 8
_RETRY_SECONDS = 0.1


class Reader(Protocol):
    """Takes bytes from the beginning of a pipe."""

    taken: bool
    """Whether they are gone from the pipe."""

    def read(self, descriptor: int, limit: int) -> bytes: ...

    def close(self) -> None: ...


class CopyingReader:
    """Leaves in the pipe what it reads: the supervisor takes it out when it is kept."""

    taken = False

    def __init__(self) -> None:
        """Raises OSError where there is no tee."""
        self._copier = tee.Copier()

    def read(self, descriptor: int, limit: int) -> bytes:
        return self._copier.copy(descriptor, limit)

    def close(self) -> None:
        self._copier.close()


class PlainReader:
    """For a system without tee. What was read and not written yet is lost with this process."""

    taken = True

    def read(self, descriptor: int, limit: int) -> bytes:
        os.set_blocking(descriptor, False)
        try:
            return os.read(descriptor, limit)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        return


class Output:
    """One stream of one process. Positions count the bytes that the process wrote."""

    def __init__(self, index: int, sink: LogSink) -> None:
        self.index = index
        self.stream = STREAMS[index]
        self.sink = sink
        self.descriptor = -1
        self.at: int | None = None
        """What the pipe begins with, since the supervisor said that something is in it; None when that was read."""
        self.settled = True
        """The supervisor is known to have consumed all that was read."""
        self.ahead = b""
        """What was taken from the pipe and cannot be shown yet."""
        self.failure: Exception | None = None
        """Why the sink did not take the output. What follows is read and lost, so that the process can end."""
        try:
            self.position = sink.taken(self.stream)
        except (OSError, StoreCorruptError) as error:
            self.failure = error
            self.position = 0

    def hold(self, descriptor: int) -> None:
        """Take over the read end of the pipe."""
        self.release()
        self.descriptor = descriptor

    def release(self) -> None:
        """Read no more. May be repeated."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def miss(self, at: int) -> None:
        """Nothing is left of what was written before `at`: the sink should have it."""
        if at > self.position:
            self.failure = self.failure or OSError(f"{at - self.position} bytes of it were lost")
            self.position = at

    @property
    def unread(self) -> int:
        """How many bytes are in the pipe."""
        fcntl.ioctl(self.descriptor, termios.FIONREAD, size := array.array("i", [0]), True)
        return size[0]

    def take(self, reader: Reader, at: int, others: Sequence[Output] = ()) -> int:
        """Read from the pipe, which begins with position `at`; how much there was. `others` belong to the same process,
        and what they begin with is known. What was written there before is seen first, for it may tell what must not be shown."""
        if self.descriptor < 0:
            return 0
        if reader.taken:
            return _take_in_turn([self, *others], reader)
        try:
            data = reader.read(self.descriptor, _PIECE_BYTES)
            for other in others:  # after it: what was written there before this is seen
                other.foresee(reader)
        except OSError as error:
            self._give_up(error, at)
            return 0
        self.miss(at)
        self.show(data[self.position - at :])
        return len(data)

    def read(self, reader: Reader) -> bytes:
        """Take from the pipe what is to be shown later."""
        if self.descriptor < 0:
            return b""
        try:
            return reader.read(self.descriptor, _PIECE_BYTES)
        except OSError as error:
            self._give_up(error, self.position)
            return b""

    def show(self, data: bytes) -> None:
        """What follows in this stream."""
        self.position += len(data)
        if data and self.failure is None:
            try:
                self.sink.write(self.stream, data, self.position)
            except Exception as error:  # noqa: BLE001 - a sink's trouble is its process's, not all others'
                self.failure = error

    def foresee(self, reader: Reader) -> None:
        """Look at what is in the pipe."""
        if self.descriptor >= 0 and self.unread:
            data = reader.read(self.descriptor, tee.SCRATCH_BYTES)
            self.announce(data if self.at is None else data[self.position - self.at :])

    def announce(self, data: bytes) -> None:
        """This follows in this stream, but others are shown before it."""
        if self.failure is None:
            self.sink.foresee(self.stream, data)

    def _give_up(self, error: OSError, at: int) -> None:
        """It cannot be read: what is in it is passed over, so that the process can end."""
        self.failure = self.failure or error
        self.position = max(self.position, at + self.unread)


def _take_in_turn(outputs: list[Output], reader: Reader) -> int:
    """Read from the pipes of a process in turn, and show what was read from one when the other has been read after it: there is no
    looking into a pipe without taking it. What was read last, while both are being written, waits for the next time.
    How much there was."""
    if any(output.ahead for output in outputs[1:]):
        outputs.reverse()
    data, outputs[0].ahead = outputs[0].ahead, b""
    count = 0
    if not data:
        data = outputs[0].read(reader)
        count += len(data)
    for _ in range(_TURNS):
        following = outputs[-1].read(reader) if len(outputs) > 1 else b""
        if following:
            outputs[-1].announce(following)
        outputs[0].show(data)
        if not following:
            return count
        outputs.reverse()
        data = following
        count += len(data)
    outputs[0].ahead = data
    return count


class Source(Protocol):
    """A process, as the queue sees it."""

    def take(self, reader: Reader, output: Output) -> int:
        """Read a piece of this output; how many bytes."""


class OutputQueue:
    """The pipes in which something is, in the order in which it was told. Works off a piece of each, some a turn of the loop."""

    def __init__(self, make_reader: Callable[[], Reader]) -> None:
        self._make_reader = make_reader
        self._reader: Reader | None = None
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[Source, Output]] = deque()
        self._working = False

    def add(self, source: Source, output: Output) -> None:
        """Something is in the pipe of `output`."""
        self._due.append((source, output))
        if not self._working:
            self._working = True
            self._loop.call_soon(self._work)

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            self._reader = self._make_reader()
        return self._reader

    def close(self) -> None:
        """May be repeated."""
        self._due.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _work(self) -> None:
        try:
            reader = self.reader
        except OSError:  # no descriptor free, for a moment: what is in the pipes stays there
            self._loop.call_later(_RETRY_SECONDS, self._work)
            return
        done = 0
        while self._due and done < _BYTES_PER_TURN:
            source, output = self._due.popleft()
            done += source.take(reader, output)
        self._working = bool(self._due)
        if self._working:
            self._loop.call_soon(self._work)


def read_rest(outputs: Sequence[Output]) -> None:
    """Read what is left of a process, once the supervisor is gone: nobody else takes anything out of its pipes then."""
    plain = PlainReader()
    known = [
        output for output in outputs if output.at is not None and output.descriptor >= 0
    ]  # else it may have been read
    for output in known:
        skipped = output.position - (output.at or 0)
        while skipped > 0 and (data := plain.read(output.descriptor, min(skipped, _PIECE_BYTES))):
            skipped -= len(data)
    drain(known, plain)


def drain(outputs: Sequence[Output], reader: Reader) -> None:
    """Take all that is in the pipes of a process that has ended, but not for ever what somebody else still writes there."""
    for _ in range(_LAST_PIECES):
        if not sum(
            [one.take(reader, one.position, [other for other in outputs if other is not one]) for one in outputs]
        ):
            return


def best_reader() -> Reader:
    """The one that loses nothing, where the system has what it needs. Raises OSError when no descriptor is free."""
    return CopyingReader() if tee.works() else PlainReader()
