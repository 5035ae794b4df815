"""Containment by control groups: what supervisors that are dead have left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.process import remains
from runner.process.host import SupervisorHost
from runner.process.supervisor import cgroups, processes
from tests import apart, hostile
from tests.chaos.judge import end_supervisor
from tests.contract.process_labs import Sink, program
from tests.integration.cgroups.driving import ROOT, play, until_held


def test_what_a_dead_supervisor_left_in_its_control_groups_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        host = await SupervisorHost.start_private(tmp_path, containment="cgroup2")
        sink = Sink()
        code = f"import time\ntime.sleep(0.2)\n{hostile.ESCAPES}"
        await host.spawn("k", program(hostile.python(code)), sink)
        await sink.until(b"ready ")
        pid = hostile.pid_said(sink.data["stdout"])
        await hostile.until_bare(pid)
        os.kill(host.pid, signal.SIGKILL)
        await host.aclose()
        report = await asyncio.to_thread(remains.end, host.incarnation)
        assert not hostile.is_alive(pid)
        assert report is not None
        assert (report["left"], report["containment"], "survivors" in report) == ([], "marker", False)
        assert report["leftovers"] >= 1
        assert hostile.rooms(host.incarnation) == []
        assert await asyncio.to_thread(remains.end, host.incarnation) is None

    asyncio.run(main())


def test_what_dead_supervisors_left_empty_is_removed_by_the_next(tmp_path: Path) -> None:
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    gone = subprocess.Popen(["true"])
    gone.wait()
    own = processes.read(os.getpid())
    assert own is not None
    left = [room(number, *whose) for number, whose in enumerate([(gone.pid, 1), (zombie.pid, 1), (own.pid, 1)])]
    alive = room(9, own.pid, own.started)
    try:

        async def scenario(host: SupervisorHost) -> None:
            assert [path for path in left if path.exists()] == []
            assert alive.exists()

        play(tmp_path, scenario)
    finally:
        zombie.wait()
        remove(alive)


def room(number: int, pid: int, started: int) -> Path:
    """As a supervisor would make it that has started then, with a control group in it."""
    own = cgroups.path_of(cgroups.name_of("self") or "")
    path = Path(f"{own}/runner-{str(number) * 32}-{pid}.{started}")
    (path / "7").mkdir(parents=True)
    return path


def remove(room: Path) -> None:
    (room / "7").rmdir()
    room.rmdir()


def test_what_dead_supervisors_left_empty_is_removed_by_one_that_is_to_do_without(tmp_path: Path) -> None:
    left = room(0, os.getpid(), 1)

    async def main() -> None:
        async with await SupervisorHost.start_private(tmp_path, containment="marker"):
            assert not left.exists()

    asyncio.run(main())


def test_what_was_still_alive_when_the_next_began_is_removed_for_the_next_runner(tmp_path: Path) -> None:
    """Nothing tells a supervisor that what a former one has left became empty."""
    left = room(0, os.getpid(), 1)
    stays = subprocess.Popen(["sleep", "1000"])

    async def main() -> None:
        (left / "7" / "cgroup.procs").write_text(str(stays.pid))
        async with await SupervisorHost.connect(tmp_path, idle_seconds=0.0):
            assert left.exists()
            stays.kill()
            stays.wait()
            async with await SupervisorHost.connect(tmp_path) as host:
                assert await host.list() == ()
                assert not left.exists()

    try:
        asyncio.run(main())
    finally:
        end_supervisor(tmp_path)
        if left.exists():
            remove(left)


ANOTHER = """
import asyncio, sys
from runner.process.host import SupervisorHost

async def main():
    async with await SupervisorHost.start_private(sys.argv[1], containment="cgroup2") as host:
        print(host.containment)

asyncio.run(main())
"""


@pytest.mark.parametrize("tidied", [False, True])
def test_one_that_cannot_see_the_processes_of_another_leaves_its_room_alone(
    tmp_path: Path, require: Callable[[str], None], tidied: bool
) -> None:
    """As in a container that shares the host's control groups: there the number of the other's supervisor is nobody's. Also of a room that
    was made again, because somebody else has removed it."""
    for need in ("root", "mount"):
        require(need)
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", ANOTHER, str(tmp_path / "another")]

    async def scenario(host: SupervisorHost) -> None:
        [former] = hostile.rooms(host.incarnation)
        if tidied:
            os.rmdir(former)
            exit = await (await host.spawn("k", program(["sleep", "0.1"]), Sink())).wait()
            assert exit.exit_code == 0
            assert hostile.rooms(host.incarnation) == [former]
        another = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=subprocess.PIPE)
        out, _ = await another.communicate()
        assert out == b"cgroup2\n"
        assert hostile.rooms(host.incarnation) == [former]

    with apart.delegated() as group:  # where nobody else comes by
        apart.run(lambda: play(tmp_path / "state", scenario), apart.within(group))


def test_what_was_still_alive_when_the_next_began_is_removed_when_that_ends(tmp_path: Path) -> None:
    left = room(0, os.getpid(), 1)
    stays = subprocess.Popen(["sleep", "1000"])

    async def scenario(host: SupervisorHost) -> None:
        assert left.exists()
        stays.kill()
        stays.wait()

    try:
        (left / "7" / "cgroup.procs").write_text(str(stays.pid))
        play(tmp_path, scenario)
        assert not left.exists()
    finally:
        stays.kill()
        stays.wait()
        if left.exists():
            remove(left)


def test_a_room_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        [room] = cgroups.former(host.incarnation)
        os.rmdir(room.path)
        process = await host.spawn("k", program(["sleep", "1000"]), Sink())
        await until_held(host, process.started.pid)

    play(tmp_path, scenario)
