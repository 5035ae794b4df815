"""Runners in processes of their own, which die, and how to wait for what becomes of what they have started."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.contract.process_labs import Sink

ROOT = Path(__file__).parents[3]

# A runner that starts a process, says so and then does nothing.
RUNNER = """
import asyncio, sys
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program

async def main(mode, folder, script):
    host = await (SupervisorHost.start_private(folder) if mode == "private" else SupervisorHost.connect(folder))
    sink = Sink()
    process = await host.spawn("k", program(["sh", "-c", script]), sink)
    await sink.until(b"ready")
    print(process.started.pid, host.pid, host.incarnation, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class Runner:
    """A runner in a process of its own, with one process `k` that has said `ready`."""

    def __init__(self, mode: str, folder: Path, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, mode, str(folder), script], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert self._process.stdout is not None
        pid, supervisor, self.incarnation = self._process.stdout.readline().split()
        self.pid, self.supervisor = int(pid), int(supervisor)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main

    asyncio.run(bounded())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the file is opened, or read
        return False


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes cannot set an event of ours
        await asyncio.sleep(0.005)


def ready() -> Sink:
    """Goes on behind what the former runner has kept."""
    sink = Sink()
    sink.ends["stdout"] = len(b"ready\n")
    return sink
