"""`runner supervisor`: a service of its own that outlives runners, of this version and of others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.errors import ProcessHostError
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from tests.acceptance.command import RUNNER
from tests.contract.process_labs import Sink, program

ROOT = Path(__file__).parents[2]


@contextmanager
def service(state: Path, command: tuple[str, ...] = RUNNER, root: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor that has said, as to systemd, that it is ready."""
    address = f"{state.parent}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        environment = {"PATH": os.environ["PATH"], "HOME": str(state.parent), "NOTIFY_SOCKET": address}
        argv = [*command, "supervisor", "--state-dir", str(state)]
        with subprocess.Popen(argv, env=environment, cwd=root, stderr=subprocess.PIPE) as process:
            try:
                assert manager.recv(100) == b"READY=1"
                yield process
            finally:
                process.kill()
    Path(address).unlink()


def test_the_next_one_has_the_name_that_attempts_were_written_down_with(tmp_path: Path) -> None:
    """A node whose supervisor is killed goes on writing down what it starts, while the service manager starts the next."""
    state = tmp_path / "state"

    async def main() -> None:
        there = asyncio.Event()

        async def open(incarnation: str) -> SupervisorHost:
            await there.wait()
            return await SupervisorHost.connect(state, incarnation=incarnation)

        async with contextlib.AsyncExitStack() as stack:
            with service(state) as first:
                there.set()
                host = await stack.enter_async_context(await LastingHost.open(open))
                named = host.incarnation
                there.clear()
                first.kill()
                first.wait()
            while host.incarnation == named:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            written = host.incarnation
            spawning = asyncio.create_task(host.spawn("k", program(["sh", "-c", "exit 3"]), Sink()))
            with service(state) as second:
                there.set()
                assert (await (await spawning).wait()).exit_code == 3
                assert (host.pid, host.incarnation) == (second.pid, written)
                async with await SupervisorHost.connect(state, incarnation="f" * 32) as later:
                    assert later.incarnation == written, "and keeps it"

    asyncio.run(main())


def test_it_keeps_what_runs_while_runners_come_and_go(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def first_life() -> tuple[int, str]:
        host = await SupervisorHost.connect(state)
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        await host.aclose()
        return process.started.pid, host.incarnation

    async def second_life(supervisor: subprocess.Popen[bytes], pid: int, incarnation: str) -> None:
        sink = Sink()
        sink.ends["stdout"] = len(b"ready\n")
        async with await SupervisorHost.connect(state) as host:
            assert (host.pid, host.incarnation) == (supervisor.pid, incarnation)
            process = await host.attach("k", sink)
            assert process is not None
            assert process.started.pid == pid
            supervisor.send_signal(signal.SIGTERM)
            assert (await process.wait()).cause == "stopped"

    with service(state) as supervisor:
        pid, incarnation = asyncio.run(first_life())
        asyncio.run(asyncio.wait_for(second_life(supervisor, pid, incarnation), 30))
        assert supervisor.wait(30) == 0
        assert not Path(f"/proc/{pid}").exists()


def test_one_that_is_asked_to_end_lets_what_runs_end_by_itself_for_two_seconds(tmp_path: Path) -> None:
    state = tmp_path / "state"
    obeys = "trap 'echo cleaned; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    refuses = "trap '' TERM; echo ready; exec sleep 1000"

    async def main(supervisor: subprocess.Popen[bytes]) -> None:
        sinks = [Sink(), Sink()]
        async with await SupervisorHost.connect(state) as host:
            obeying, refusing = [
                await host.spawn(script, program(["sh", "-c", script]), sink)
                for script, sink in zip((obeys, refuses), sinks, strict=True)
            ]
            for sink in sinks:
                await sink.until(b"ready")
            supervisor.send_signal(signal.SIGTERM)
            exit = await obeying.wait()
            assert (exit.cause, exit.exit_code, sinks[0].data["stdout"]) == ("stopped", 5, b"ready\ncleaned\n")
            exit = await refusing.wait()
            assert (exit.cause, exit.signal) == ("stopped", signal.SIGKILL)
            assert exit.kill is not None
            (asked, _), (killed, seconds) = exit.kill["signals"]
            assert (asked, killed) == ("SIGTERM", "SIGKILL")
            assert seconds >= 2.0, "of the supervisor's own clock"

    with service(state) as supervisor:
        asyncio.run(asyncio.wait_for(main(supervisor), 30))
        assert supervisor.wait(30) == 0


def test_a_state_directory_has_one(tmp_path: Path) -> None:
    with service(tmp_path / "state"):
        second = subprocess.run(
            [*RUNNER, "supervisor", "--state-dir", str(tmp_path / "state")],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr == (
        f"runner supervisor: another supervisor serves {tmp_path}/state: end that one, or give another state directory\n"
    )


@contextmanager
def another_version(tmp_path: Path, protocol: int | None = None) -> Iterator[Path]:
    """This project with a supervisor of other bytes, and of another protocol if one is given."""
    copy = tmp_path / "other"
    for package in ("runner", "drivers", "taskimpl", "cache"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    wire = copy / "runner/process/supervisor/wire.py"
    text = wire.read_text() + "# of another version\n"
    wire.write_text(
        text if protocol is None else re.sub(r"^PROTOCOL = .*$", f"PROTOCOL = {protocol}", text, flags=re.M)
    )
    yield copy


def test_a_runner_goes_on_with_the_supervisor_of_the_version_before(tmp_path: Path) -> None:
    """What an upgrade in place does, with a process that ran through it."""
    state = tmp_path / "state"
    old_runner = f"""
import asyncio, sys
sys.path.insert(0, {str(tmp_path / "other")!r})
from runner.process.host import SupervisorHost
from runner.process.lasting import LastingHost
from drivers.base import ProcessSpec
import runner
assert runner.__file__.startswith({str(tmp_path)!r})

class Sink:
    def write(self, stream, data, end=None): pass
    def foresee(self, stream, data): pass
    def taken(self, stream): return 0
    def close(self): pass

async def main():
    host = await SupervisorHost.connect({str(state)!r})
    spec = ProcessSpec(argv=["sh", "-c", "sleep 0.3; echo later; exit 7"], env={{"PATH": "/usr/bin:/bin"}}, cwd="/")
    await host.spawn("k", spec, Sink())

asyncio.run(main())
"""

    async def upgraded() -> None:
        async with await SupervisorHost.connect(state) as host:
            sink = Sink()
            process = await host.attach("k", sink)
            assert process is not None
            assert (await process.wait()).exit_code == 7
            assert sink.data["stdout"] == b"later\n"
            os.kill(host.pid, signal.SIGTERM)

    with another_version(tmp_path) as copy:
        subprocess.run([sys.executable, "-c", old_runner], cwd=copy, check=True, timeout=30)
        asyncio.run(asyncio.wait_for(upgraded(), 30))
    assert len([path for path in (state / "supervisor").iterdir() if path.is_dir()]) == 1


def test_a_supervisor_of_another_protocol_is_told_and_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ProcessHostError, match="this supervisor speaks protocol 1, the runner speaks"):
            await SupervisorHost.connect(tmp_path / "state")

    with another_version(tmp_path, protocol=1) as copy, service(tmp_path / "state", root=copy) as supervisor:
        asyncio.run(main())
        assert supervisor.poll() is None
