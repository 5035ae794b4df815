"""Bytes that arrive on the loop, for a thread that reads them: bounded in memory and in time, so that nobody keeps others from sending."""

from __future__ import annotations

import asyncio
import queue
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from runner.errors import LimitError, UsageError

MOST_UPLOADS = 8
MOST_OF_ONE = 4
"""So many of them may be of one caller."""
PIECES_AHEAD = 8
LARGEST_PIECE_BYTES = 1 << 20
PATIENCE_SECONDS = 60.0
LEAST_BYTES = 60 << 10
"""What a stream has to bring in that time, on and on: 1 KiB a second."""
RETRY_SECONDS = 5.0

T = TypeVar("T")
Read = Callable[[], bytes]


class Receiver:
    """Has threads of its own, so that slow senders keep nobody else waiting."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._threads = ThreadPoolExecutor(MOST_UPLOADS, thread_name_prefix="upload")
        self._patience_seconds = patience_seconds
        self._callers: Counter[str] = Counter()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def receive(self, caller: str, pieces: AsyncIterator[bytes], work: Callable[[Read], T]) -> T:
        """What `work` makes of the stream; its `read` gives the next bytes, none at the end, and raises UsageError where the
        sender has gone. Raises LimitError when too many are under way, UsageError for a stream that is too slow."""
        with self._counted(caller):
            return await self._received(pieces, work)

    @contextmanager
    def _counted(self, caller: str) -> Iterator[None]:
        for count, limit, whose in (
            (self._callers.total(), MOST_UPLOADS, ""),
            (self._callers[caller], MOST_OF_ONE, f" of {caller!r}"),
        ):
            if count >= limit:
                raise LimitError(
                    f"this runner receives {limit} workspaces{whose} at once; try again later",
                    limit=limit,
                    retry_after=RETRY_SECONDS,
                )
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    async def _received(self, pieces: AsyncIterator[bytes], work: Callable[[Read], T]) -> T:
        ahead: queue.Queue[bytes | None] = queue.Queue(PIECES_AHEAD)

        def read() -> bytes:
            piece = ahead.get()
            if piece is None:
                raise UsageError("the stream was cut off: send it again")
            return piece

        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._threads, work, read)
        try:
            await self._pump(pieces, ahead, working)
            return await working
        finally:
            if not working.done():
                working.add_done_callback(_heard)
                _empty(ahead)
                ahead.put_nowait(None)

    async def _pump(
        self, pieces: AsyncIterator[bytes], ahead: queue.Queue[bytes | None], working: asyncio.Future[T]
    ) -> None:
        """Until the stream or the work has come to its end."""
        loop, patience = asyncio.get_running_loop(), self._patience_seconds
        until, brought = loop.time() + patience, 0
        while not working.done():
            try:
                async with asyncio.timeout_at(until):
                    piece = await anext(pieces, b"")
            except TimeoutError:
                raise UsageError(
                    f"the stream is too slow: it brought {brought:,} bytes in {patience:g} seconds, expected {LEAST_BYTES:,}"
                ) from None
            brought += len(piece)
            if brought >= LEAST_BYTES:
                until, brought = loop.time() + patience, 0
            if len(piece) > LARGEST_PIECE_BYTES:
                raise UsageError(f"a piece of the stream has more than {LARGEST_PIECE_BYTES:,} bytes")
            while not working.done():
                try:
                    ahead.put_nowait(piece)
                    break
                except queue.Full:
                    await asyncio.sleep(0.01)  # the disk is slower than the sender
                    until = loop.time() + patience
            if not piece:
                return


def _heard(working: asyncio.Future[T]) -> None:
    """Its caller was told already why there is nothing."""
    if not working.cancelled():
        working.exception()


def _empty(ahead: queue.Queue[bytes | None]) -> None:
    while True:
        try:
            ahead.get_nowait()
        except queue.Empty:
            return
