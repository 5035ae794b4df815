"""Programs that are started with what few ask for, and why they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import StartError
from runner.process.host import SupervisorHost
from tests import hostile
from tests.contract.process_labs import Sink, program

Scenario = Callable[[SupervisorHost], Awaitable[None]]


def play(folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(folder) as host:
            await scenario(host)

    asyncio.run(main())


def said(folder: Path, argv: list[str], **spec: Any) -> str:
    sink = Sink()

    async def scenario(host: SupervisorHost) -> None:
        exit = await (await host.spawn("k", program(argv, **spec), sink)).wait()
        assert exit.exit_code == 0, sink.data["stderr"]

    play(folder, scenario)
    return sink.data["stdout"].decode()


def refused(folder: Path, **spec: Any) -> str:
    """Why it was not started; what is asked for next starts all the same."""
    told = []

    async def scenario(host: SupervisorHost) -> None:
        with pytest.raises(StartError) as caught:
            await host.spawn("k", program(["true"], **spec), Sink())
        assert caught.value.exit_code == 125
        told.append(caught.value.message)
        assert await host.list() == ()
        assert hostile.zombies_of(host.pid) == 0
        assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    play(folder, scenario)
    return told[0]
