"""What a supervisor does beyond the contract: its own end, and that of what it has started."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ProcessHostError
from runner.process import host as host_module
from runner.process.host import SupervisorHost
from runner.process.supervisor import wire
from tests import hostile
from tests.contract.process_labs import Sink, program
from tests.unit.process.runners import Runner, alive, run, until


def test_an_answer_that_nobody_waits_for_may_be_lost(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        async with await SupervisorHost.start_private(tmp_path) as host:
            lost = asyncio.Event()
            host.on_lost(lambda error: lost.set())
            os.kill(host.pid, signal.SIGSTOP)
            host.synchronise(lambda: None)
            os.kill(host.pid, signal.SIGKILL)
            await lost.wait()
        gc.collect()

    asyncio.run(main())
    assert complaints == []


def test_nothing_outlives_the_runner_of_a_private_supervisor(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 1000 & echo $! > child; echo ready; wait; exec sleep 1000"
    runner = Runner("private", tmp_path, f"cd {tmp_path}; {script}")
    child = int((tmp_path / "child").read_text())
    assert alive(runner.pid)
    assert alive(child)
    runner.kill()

    async def main() -> None:
        await until(lambda: not alive(runner.pid) and not alive(child) and not alive(runner.supervisor))

    run(main())


def test_what_a_private_supervisor_has_left_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is too busy it may not be done in time."""
    monkeypatch.setattr(host_module, "_END_SECONDS", 0.1)

    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path)
        sink = Sink()
        await host.spawn("k", program(hostile.command("has its own session and no environment")), sink)
        await sink.until(b"ready ")
        os.kill(host.pid, signal.SIGSTOP)
        await host.aclose()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert hostile.alive(host.incarnation) == []
        assert hostile.rooms(host.incarnation) == []

    run(main())


def test_closing_a_private_host_ends_its_processes(tmp_path: Path) -> None:
    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path)
        sink = Sink()
        process = await host.spawn(
            "k", program(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done"]), sink
        )
        await sink.until(b"ready")
        await host.aclose()
        await host.aclose()
        assert not alive(process.started.pid)
        assert not alive(host.pid)
        with pytest.raises(ProcessHostError):
            await process.wait()
        with pytest.raises(ProcessHostError):
            await host.spawn("l", program(["true"]), sink)

    run(main())


@pytest.mark.parametrize("taken", [False, True])
def test_the_private_folder_goes_unless_the_next_runner_has_taken_it(tmp_path: Path, taken: bool) -> None:
    temp = tmp_path / "temp"
    (temp / "a").mkdir(parents=True)
    descriptor = os.open(temp, os.O_RDONLY)

    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path / "state", temp)
        if taken:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        await host.aclose()
        assert not alive(host.pid)
        assert temp.exists() is taken

    run(main())
    os.close(descriptor)


def test_sigterm_ends_the_supervisor_and_its_processes(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(tmp_path) as host:
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            os.kill(host.pid, signal.SIGTERM)
            assert (await process.wait()).cause == "stopped"
            await until(lambda: not alive(host.pid))
        assert not (tmp_path / wire.SOCKET_NAME).exists()

    run(main())


def test_a_supervisor_that_nobody_needs_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.connect(tmp_path, idle_seconds=0.05) as host:
            await (await host.spawn("k", program(["true"]), Sink())).wait()
        async with await SupervisorHost.connect(tmp_path) as again:
            assert again.pid == host.pid, "it has a record that nobody has forgotten"
            await again.forget("k")
        await until(lambda: not alive(host.pid))
        assert not (tmp_path / wire.SOCKET_NAME).exists()

    run(main())


def test_a_supervisor_whose_state_directory_is_gone_ends(tmp_path: Path) -> None:
    async def main() -> None:
        state = tmp_path / "state"
        async with await SupervisorHost.connect(state) as host:
            process = await host.spawn("k", program(["sleep", "1000"]), Sink())
            for name in (wire.SOCKET_NAME, wire.LOCK_NAME):
                (state / name).unlink()
        await until(lambda: not alive(host.pid) and not alive(process.started.pid))

    run(main())
