"""A process that somebody converses with, by a terminal or by pipes, seen from there.

Nothing is read before somebody asks for it, and nothing is written but what the process takes: so a fast program waits for a slow
reader, in the kernel, and nobody keeps anything of what they say.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from drivers.base import ProcessExit
from runner.errors import ProcessHostError
from runner.model.log import Stream
from runner.model.shell import Size
from runner.process.supervised import SupervisedProcess

READ_BYTES = 32 << 10
_PIECE_BYTES = 4096
"""As much as a terminal gives at once."""

_Add = Callable[[int, Callable[[], None]], object]


class Host(Protocol):
    """What a terminal asks its host, by the key of its process."""

    async def stop(self, key: str, grace: float) -> None: ...
    async def forget(self, key: str) -> None: ...


class Nowhere:
    """The sink of a process whose output nobody keeps."""

    def write(self, stream: Stream, data: bytes, end: int | None = None) -> None:
        pass

    def foresee(self, stream: Stream, data: bytes) -> None:
        pass

    def taken(self, stream: Stream) -> int:
        return 0

    def limit(self, bytes: int) -> None:
        pass

    @property
    def shortened(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Handing:
    """The descriptors of one terminal on their way here."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._descriptors: list[int] = []
        self._complete: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()

    def take(self, descriptor: int) -> None:
        self._descriptors.append(descriptor)
        if len(self._descriptors) == self._count and not self._complete.done():
            self._complete.set_result(self._descriptors)

    def lose(self, error: ProcessHostError) -> None:
        """No more will come."""
        if not self._complete.done():
            self._complete.set_exception(error)

    async def all(self) -> Sequence[int]:
        """Raises ProcessHostError."""
        return await self._complete

    def close(self) -> None:
        """Nobody wants them."""
        self._complete.cancel()
        for descriptor in self._descriptors:
            os.close(descriptor)


class Terminal:
    """Made by `SupervisorHost.converse`, to be closed. One reads at a time, and one writes."""

    def __init__(self, key: str, process: SupervisedProcess, descriptors: Sequence[int], host: Host) -> None:
        """One descriptor is that of a terminal, three are stdin, stdout and stderr."""
        self._key = key
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._input, *outputs = descriptors
        self._is_tty = not outputs
        self._outputs: deque[tuple[Stream, int]] = deque(
            [("stdout", self._input)] if self._is_tty else zip(("stdout", "stderr"), outputs, strict=True)
        )
        """Those that have not come to their end; that which was read last is the last."""
        self._open = set(descriptors)
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
        # Owned by this object until `aclose`.
        self._end = self._loop.create_task(process.wait(), name=f"the end of {key}")

    @property
    def ended(self) -> bool:
        return self._end.done()

    async def wait(self) -> ProcessExit:
        """Its end, when all that it has started has ended as well. Raises ProcessHostError when the host is lost."""
        return await asyncio.shield(self._end)

    async def exit_code(self) -> int:
        return (await self.wait()).exit_code

    async def read(self) -> tuple[Stream, bytes] | None:
        """Some of what it writes, of a terminal all as stdout; None at the end of all of it."""
        while self._outputs:
            ended = self.ended  # looked at first: what it wrote last is seen
            for stream, descriptor in list(self._outputs):
                data = self._taken(descriptor)
                if data:
                    self._outputs.remove((stream, descriptor))
                    self._outputs.append((stream, descriptor))
                    await asyncio.sleep(0)  # others have their turn
                    return stream, data
                if data is not None:
                    self._outputs.remove((stream, descriptor))
            if ended:
                self._outputs.clear()  # somebody else holds it, who is none of its own
            elif self._outputs:
                await self._ready([each for _, each in self._outputs], self._loop.add_reader, self._loop.remove_reader)
        return None

    def _taken(self, descriptor: int) -> bytes | None:
        """What is there; nothing at the end, None where there is nothing yet."""
        pieces: list[bytes] = []
        size = 0
        while size < READ_BYTES:
            try:
                piece = os.read(descriptor, _PIECE_BYTES if self._is_tty else READ_BYTES)
            except BlockingIOError:
                return b"".join(pieces) or None
            except OSError:  # nobody has the terminal open any more
                piece = b""
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    async def write(self, data: bytes) -> None:
        """Returns when all of it was taken, or when nothing more is taken."""
        while data and self._input in self._open and not self.ended:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                await self._ready([self._input], self._loop.add_writer, self._loop.remove_writer)
            except OSError:  # it has closed its input, or ended
                return

    async def end_input(self) -> None:
        """Nothing more is written. To a terminal that is said by typing it."""
        if not self._is_tty:
            self._close(self._input)

    async def resize(self, size: Size) -> None:
        """Of a terminal."""
        if self._is_tty and self._input in self._open:
            with suppress(OSError):
                fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))

    async def aclose(self, grace: float) -> None:
        """Hang up, and end what does not end by that, by force after `grace` seconds. When this returns nothing of it runs, or the host
        is lost, which ends it as well. Not beside `read` and `write`."""
        for descriptor in list(self._open):
            self._close(descriptor)
        with suppress(ProcessHostError):
            if not self.ended:
                await self._host.stop(self._key, grace)
                await self.wait()
            await self._host.forget(self._key)
        with suppress(ProcessHostError):
            await self._end

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    async def _ready(self, descriptors: Sequence[int], add: _Add, remove: Callable[[int], object]) -> None:
        """Until the loop says that one of them is ready, or the process has ended."""
        ready = asyncio.Event()

        def ended(_: object) -> None:
            ready.set()

        self._end.add_done_callback(ended)
        for descriptor in descriptors:
            add(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            self._end.remove_done_callback(ended)
            for descriptor in descriptors:
                remove(descriptor)
