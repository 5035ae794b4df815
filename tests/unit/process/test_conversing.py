"""A conversation ends with the runner that it goes by, however that ends, and with its supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import ProcessHostError
from runner.model.shell import Size
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from tests.contract.process_labs import program
from tests.unit.process.runners import ROOT, alive, run, until

# What hears neither the end of its terminal nor SIGTERM, and has left its session.
STUBBORN = "trap '' HUP TERM; setsid sh -c \"trap '' HUP TERM; echo \\$\\$ $$; sleep 1000; :\" & wait; wait"

RUNNER = """
import asyncio, sys
from runner.model.shell import Size
from runner.process.host import SupervisorHost
from tests.contract.process_labs import program

async def main(mode, folder, script):
    host = await (SupervisorHost.start_private(folder) if mode == "private" else SupervisorHost.connect(folder))
    terminal = await host.converse("k", program(["sh", "-c", script]), Size(3, 80))
    seen = b""
    while b"\\n" not in seen:
        seen += (await terminal.read())[1]
    print(seen.decode().split()[0], seen.decode().split()[1], host.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("mode", ["private", "shared"])
def test_a_runner_that_is_killed_leaves_nothing(mode: str, shared: Path) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, mode, str(shared), STUBBORN], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert runner.stdout is not None
    inner, outer, _ = map(int, runner.stdout.readline().split())
    runner.kill()
    runner.wait()
    runner.stdout.close()

    async def main() -> None:
        await until(lambda: not alive(inner) and not alive(outer))
        if mode == "shared":
            async with await SupervisorHost.connect(shared) as host:
                assert await host.list() == ()

    run(main())


def test_another_runner_ends_it(shared: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(shared) as first:
            terminal = await first.converse("k", program(["sh", "-c", STUBBORN]), Size(3, 80))
            piece = await terminal.read()
            assert piece is not None
            inner, outer = map(int, piece[1].split())
            async with await SupervisorHost.connect(shared) as second:
                await until(lambda: not alive(inner) and not alive(outer))
                assert await second.list() == ()
            with pytest.raises(ProcessHostError):
                await terminal.wait()
            await terminal.aclose(0.1)

    run(main())


def test_a_supervisor_that_is_killed_takes_it_along(tmp_path: Path) -> None:
    async def main() -> None:
        async with await LastingHost.open(
            lambda incarnation: SupervisorHost.start_private(tmp_path, incarnation=incarnation)
        ) as host:
            terminal = await host.converse("k", program(["sh", "-c", STUBBORN]), Size(3, 80))
            piece = await terminal.read()
            assert piece is not None
            inner, outer = map(int, piece[1].split())
            assert host.pid is not None
            os.kill(host.pid, signal.SIGKILL)
            with pytest.raises(ProcessHostError):
                await terminal.wait()
            await terminal.aclose(0.1)
            await until(lambda: not alive(inner) and not alive(outer))

    run(main())


def test_who_gives_up_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.start_private(tmp_path) as host:
            before = set(os.listdir("/proc/self/fd"))
            starting = asyncio.ensure_future(host.converse("k", program(["sleep", "1000"]), Size(3, 80)))
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            while await host.list():
                pass
            assert set(os.listdir("/proc/self/fd")) == before

    run(main())


def test_a_wrong_size_is_refused_by_the_supervisor(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.start_private(tmp_path) as host:
            with pytest.raises(ProcessHostError, match="malformed"):
                await host.converse("k", program(["true"]), Size(1 << 16, 80))

    run(main())
