"""A supervisor that somebody stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from runner.process import vigil
from runner.process.host import SupervisorHost
from runner.process.supervisor import processes
from tests import hostile
from tests.contract.process_labs import Sink, program

STOPS_IT = ["sh", "-c", "kill -STOP $PPID; echo ready; exec sleep 1000"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "LOOK_SECONDS", 0.05)


def test_a_task_stops_it_and_its_time_is_kept_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(tmp_path) as host:
            process = await host.spawn("k", program(STOPS_IT, timeout=0.2), Sink())
            exit = await process.wait()
            assert (exit.cause, exit.signal) == ("timeout", signal.SIGTERM)

    asyncio.run(main())
    assert "something has stopped the supervisor, which may be a task; it is continued" in caplog.text


def test_one_that_was_stopped_before_its_runner_came(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            async with await SupervisorHost.connect(tmp_path) as host:
                await host.spawn("k", program(["sh", "-c", "exit 3"]), Sink())
                pid = host.pid
            os.kill(pid, signal.SIGSTOP)
            async with await SupervisorHost.connect(tmp_path) as host:
                assert host.pid == pid
                process = await host.attach("k", Sink())
                assert process is not None
                assert (await process.wait()).exit_code == 3
                os.kill(pid, signal.SIGTERM)

    asyncio.run(main())


def test_one_that_is_traced_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracers: list[subprocess.Popen[bytes]] = []

    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(tmp_path) as host:
            tracers.append(hostile.idle_tracer(host.pid))
            while "is being traced" not in caplog.text:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            await asyncio.sleep(3 * vigil.LOOK_SECONDS)
            os.kill(tracers[0].pid, signal.SIGKILL)
            assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    asyncio.run(main())
    tracers[0].wait()
    assert caplog.text.count("is being traced") == 1


def test_a_private_one_that_is_stopped_ends_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    runner = os.fork()
    if runner == 0:
        try:
            asyncio.run(_stopped(tmp_path))
        finally:
            os._exit(1)
    said = tmp_path / "said"
    while not said.exists() or not said.read_text().endswith("\n"):
        assert os.waitpid(runner, os.WNOHANG) == (0, 0)
    supervisor, task = map(int, said.read_text().split())
    os.kill(runner, signal.SIGKILL)
    os.waitpid(runner, 0)
    while hostile.is_alive(supervisor) or hostile.is_alive(task):
        pass


async def _stopped(folder: Path) -> None:
    vigil.LOOK_SECONDS = 1000.0
    host = await SupervisorHost.start_private(folder)
    process = await host.spawn("k", program(["sleep", "1000"]), Sink())
    await host.list()
    os.kill(host.pid, signal.SIGSTOP)
    while (supervisor := processes.read(host.pid)) is not None and supervisor.state != "T":
        pass
    (folder / "said").write_text(f"{host.pid} {process.started.pid}\n")
    await asyncio.Event().wait()
