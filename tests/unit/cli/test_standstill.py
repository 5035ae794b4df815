"""What is told of a group that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from runner.cli.standstill import Standstill
from runner.model.event import Event, Kind
from runner.model.watch import Happening


def event(number: int, kind: Kind) -> Event:
    fields = {"status": "failed", "exit_code": 7} if kind is Kind.TASK_HELD else {}
    return Event(group="g", number=number, at=0.0, kind=kind, task="build", attempt=1, fields=fields)


async def told(*pieces: Sequence[Happening]) -> AsyncIterator[Sequence[Happening]]:
    for piece in pieces:
        yield piece


def test_a_retry_that_fails_before_anybody_looks_is_told_as_well(capfd: pytest.CaptureFixture[str]) -> None:
    async def follow() -> None:
        standstill = Standstill("g", "")
        held = event(3, Kind.TASK_HELD)
        with standstill.attended():
            async for _ in standstill.tapped(told([held], [event(4, Kind.TASK_DISPATCHED), held])):
                pass

    asyncio.run(follow())
    assert capfd.readouterr().err.count("build has failed (exit code 7), and the group stands still") == 2
