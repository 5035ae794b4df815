"""A line between two nodes that can be cut, stalled and slowed down."""

from __future__ import annotations

import asyncio
from contextlib import suppress

_PIECE_BYTES = 16 << 10
_SLOW_SECONDS = 0.05


class Line:
    """Listens at `port` of loopback and passes on to the port `target` of `host`. Used inside `async with`."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self._host = host
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._is_slow = False

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "it was entered"
        self._server.close()
        self.cut()
        for task in self._passing:
            task.cancel()  # one may be about to connect to who does not answer
        await asyncio.gather(*self._passing, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, and take none."""
        self._is_cut = True
        self._end_all()

    def reset(self) -> None:
        """End every connection; the next one is taken."""
        self._end_all()

    def stall(self) -> None:
        """Nothing passes, and nobody is told."""
        self._flows.clear()

    def slow(self) -> None:
        self._is_slow = True

    def mend(self) -> None:
        self._is_cut = self._is_slow = False
        self._flows.set()

    def _end_all(self) -> None:
        self._flows.set()
        for writer in self._writers:
            writer.transport.abort()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._accept(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers.add(writer)
        try:
            if not self._is_cut:
                there, back = await asyncio.open_connection(self._host, self._target)
                ends.add(back)
                self._writers.add(back)
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except OSError:
            pass  # whoever called is told in the same way
        finally:
            for end in ends:
                end.transport.abort()
            self._writers -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                await self._flows.wait()
                if self._is_slow:
                    await asyncio.sleep(_SLOW_SECONDS)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
