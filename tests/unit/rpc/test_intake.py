"""How many requests are read at once."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

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


async def test_what_proves_the_same_name_otherwise_has_places_of_its_own() -> None:
    at, left = Intake(), asyncio.Event()
    going = asyncio.Semaphore(0)

    async def call(proof: tuple[str, ...]) -> None:
        async with at.caller(proof):
            going.release()
            await left.wait()

    calls = [asyncio.create_task(call(("stolen",))) for _ in range(READ_OF_ONE + 1)]
    for _ in range(READ_OF_ONE):
        await going.acquire()
    async with at.caller(("good",)):
        assert going.locked(), "one of the others waits still"
    left.set()
    await asyncio.gather(*calls)


@pytest.mark.parametrize("large", [False, True])
async def test_a_request_that_takes_its_time_gives_its_place_up(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LARGE_SECONDS" if large else "USUAL_SECONDS", 0.01)
    at = Intake()

    async def half_open() -> None:
        async with at.caller("ada", large=large), intake.arrival(large=large):
            await asyncio.Event().wait()

    ends = await asyncio.gather(*(half_open() for _ in range(3 * READ_OF_ONE)), return_exceptions=True)
    assert [type(end) for end in ends] == [LimitError] * (3 * READ_OF_ONE), "those that waited have had their time too"
    async with at.caller("ada", large=large):
        pass


def test_watches_of_strangers_are_limited_in_all_too() -> None:
    at, watches = Intake(), ExitStack()
    with watches:
        for number in range(intake.WATCHES_OF_STRANGERS):
            watches.enter_context(at.watch(f"ipv6:[2001:db8:{number // 31:x}::{number:x}]:1"))
        with pytest.raises(LimitError, match="512 watches of its health at once"), at.watch("ipv4:10.0.0.5:1"):
            pass
    with at.watch("ipv4:10.0.0.5:1"):
        pass


async def test_a_stranger_who_takes_his_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "STRANGERS_SECONDS", 0.01)
    at = Intake()
    with pytest.raises(LimitError, match="did not arrive within"):
        async with at.stranger("ipv4:10.0.0.5:1"):
            await asyncio.Event().wait()
    async with at.stranger("ipv4:10.0.0.5:2"):
        pass
