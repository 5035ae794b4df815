"""A host without processes, and what is done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from runner.process.fake import FakeHost, FakeRun

Scenario = Callable[[FakeHost], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def ends(run: FakeRun) -> int:
        Path(run.spec.env["OUTPUT_FILE"]).write_text(run.spec.env.get("WRITES", ""))
        return int(run.spec.env.get("CODE", "0"))

    async def stays(run: FakeRun) -> int:
        await run.write("stdout", b"ready")
        return await run.forever()

    async def main() -> None:
        async with asyncio.timeout(20), FakeHost({"ends": ends, "stays": stays, "sh": stays, "bash": stays}) as host:
            await scenario(host)

    asyncio.run(main())
