"""Streams that arrive, and those that keep others from arriving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from runner.errors import LimitError, UsageError
from runner.rpc.receiving import LEAST_BYTES, MOST_OF_ONE, MOST_UPLOADS, Read, Receiver


def whole(read: Read) -> int:
    total = 0
    while piece := read():
        total += len(piece)
    return total


async def sent(*pieces: bytes, seconds: float = 0.0) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(seconds)
        yield piece


async def silent() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def test_what_comes_in_time_is_received() -> None:
    receiver = Receiver(patience_seconds=30.0)
    assert await receiver.receive("ada", sent(*[b"x" * 5000] * 100), whole) == 500_000
    assert await receiver.receive("ada", sent(), whole) == 0
    receiver.close()


@pytest.mark.parametrize("pieces", [silent, lambda: sent(*[b"x"] * 10_000, seconds=0.001)])
async def test_what_drips_is_given_up(pieces: object) -> None:
    """A byte now and then must not hold a place for ever."""
    receiver = Receiver(patience_seconds=0.2)
    with pytest.raises(UsageError, match=f"too slow: it brought .* expected {LEAST_BYTES:,}"):
        await receiver.receive("ada", pieces(), whole)  # type: ignore[operator]
    assert await receiver.receive("ada", sent(b"abc"), whole) == 3
    receiver.close()


async def test_one_caller_leaves_places_for_others() -> None:
    receiver = Receiver()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())

        async def hold(caller: str, count: int) -> list[asyncio.Task[int]]:
            held = [tasks.create_task(receiver.receive(caller, silent(), whole)) for _ in range(count)]
            await asyncio.sleep(0)
            return held

        held = await hold("eve", MOST_OF_ONE)
        with pytest.raises(LimitError) as refused:
            await receiver.receive("eve", sent(), whole)
        assert (refused.value.limit, refused.value.retry_after) == (MOST_OF_ONE, 5.0)
        assert (
            refused.value.message == f"this runner receives {MOST_OF_ONE} workspaces of 'eve' at once; try again later"
        )
        assert await receiver.receive("ada", sent(b"abc"), whole) == 3
        held += await hold("mallory", MOST_UPLOADS - MOST_OF_ONE)
        with pytest.raises(LimitError) as refused:
            await receiver.receive("ada", sent(), whole)
        assert refused.value.limit == MOST_UPLOADS
        for task in held:
            task.cancel()
        await asyncio.wait(held)
        assert await receiver.receive("ada", sent(b"abc"), whole) == 3
    receiver.close()
