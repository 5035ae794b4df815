"""Bytes that arrive on the loop, for a thread that reads them: bounded in memory and in time."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from runner.errors import LimitError, UsageError

MOST_UPLOADS = 8
PIECES_AHEAD = 8
LARGEST_PIECE_BYTES = 2 << 20
PATIENCE_SECONDS = 60.0
"""How long a stream may bring nothing."""
RETRY_SECONDS = 5.0

T = TypeVar("T")
Read = Callable[[], bytes]


class Receiver:
    """Has threads of its own, so that slow senders keep nobody else waiting."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_UPLOADS, thread_name_prefix="upload")
        self._count = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def receive(self, pieces: AsyncIterator[bytes], work: Callable[[Read], T]) -> T:
        """What `work` makes of the stream; its `read` gives the next bytes, none at the end, and raises UsageError where the
        sender has gone. Raises LimitError when too many are under way."""
        if self._count >= MOST_UPLOADS:
            raise LimitError(
                f"this runner receives {MOST_UPLOADS} workspaces at once; try again later",
                limit=MOST_UPLOADS,
                retry_after=RETRY_SECONDS,
            )
        self._count += 1
        ahead: queue.Queue[bytes | None] = queue.Queue(PIECES_AHEAD)

        def read() -> bytes:
            piece = ahead.get()
            if piece is None:
                raise UsageError("the stream was cut off")
            return piece

        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._threads, work, read)
        try:
            await self._pump(pieces, ahead, working)
            return await working
        finally:
            self._count -= 1
            if not working.done():
                _empty(ahead)
                ahead.put_nowait(None)

    async def _pump(
        self, pieces: AsyncIterator[bytes], ahead: queue.Queue[bytes | None], working: asyncio.Future[T]
    ) -> None:
        """Until the stream or the work has come to its end."""
        while not working.done():
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    piece = await anext(pieces, b"")
            except TimeoutError:
                raise UsageError(f"the stream brought nothing for {PATIENCE_SECONDS:.0f} seconds") from None
            if len(piece) > LARGEST_PIECE_BYTES:
                raise UsageError(f"a piece of the stream has more than {LARGEST_PIECE_BYTES:,} bytes")
            while not working.done():
                try:
                    ahead.put_nowait(piece)
                    break
                except queue.Full:
                    await asyncio.sleep(0.01)  # the disk is slower than the sender
            if not piece:
                return


def _empty(ahead: queue.Queue[bytes | None]) -> None:
    while True:
        try:
            ahead.get_nowait()
        except queue.Empty:
            return
