"""How many requests are read at once."""

from __future__ import annotations

import asyncio

import pytest

from runner.errors import LimitError
from runner.rpc import intake
from runner.rpc.intake import READ_OF_ONE, Intake


async def test_of_one_caller_some_are_read_at_once_and_others_wait_for_nobody() -> None:
    at, going, left = Intake(), asyncio.Semaphore(0), asyncio.Event()

    async def call(name: str) -> None:
        async with at.caller(name):
            going.release()
            await left.wait()

    calls = [asyncio.create_task(call("ada")) for _ in range(READ_OF_ONE + 1)]
    for _ in range(READ_OF_ONE):
        await going.acquire()
    other = asyncio.create_task(call("bob"))
    await going.acquire()  # it is his, for of hers there are as many as may be
    assert going.locked()
    left.set()
    await asyncio.gather(other, *calls)
    async with at.caller("ada"):
        pass


async def test_a_stranger_who_takes_his_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "STRANGERS_SECONDS", 0.01)
    at = Intake()
    with pytest.raises(LimitError, match="did not arrive within"):
        async with at.stranger("ipv4:10.0.0.5:1"):
            await asyncio.Event().wait()
    async with at.stranger("ipv4:10.0.0.5:2"):
        pass
