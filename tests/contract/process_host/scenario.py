"""What is done with a host of a lab."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from drivers.base import ProcessHost
from tests.contract.process_labs import Lab

Scenario = Callable[[ProcessHost], Awaitable[None]]


def play(lab: Lab, folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), lab.open(folder) as host:
            await scenario(host)

    lab.play(folder, lambda: asyncio.run(main()))
