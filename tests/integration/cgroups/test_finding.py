"""Containment by control groups: where they are found, and where they cannot be had."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from runner.process.host import SupervisorHost
from runner.process.supervisor import cgroups
from tests import apart, hostile
from tests.contract.process_labs import Sink, program
from tests.integration.cgroups.driving import ROOT

SAYS = """
import asyncio, sys
from runner.process.host import SupervisorHost
from runner.process.supervisor import cgroups
from tests.contract.process_labs import Sink, program

async def main():
    async with await SupervisorHost.start_private(sys.argv[1]) as host:
        [room] = cgroups.former(host.incarnation)
        print(host.containment, room.path, sep="\\n")
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        await host.stop("k", 0.5)
        print((await process.wait()).kill["containment"])

asyncio.run(main())
"""


def test_a_part_of_the_hierarchy_that_is_mounted_elsewhere(tmp_path: Path, require: Callable[[str], None]) -> None:
    """As in a container that shares the host's control groups; and what is hidden by another mount is not taken for it."""
    require("mount")
    own = cgroups.path_of(cgroups.name_of("self") or "")
    part = Path(f"{own}/part of {os.getpid()}")
    part.mkdir()
    point = tmp_path / "a \\ b"
    point.mkdir()
    hide = "grep ' - cgroup2 ' /proc/self/mountinfo | cut -d' ' -f5 | grep -v pytest"
    script = f"""
        echo $$ > "$PART/cgroup.procs"; mount --bind "$PART" "$POINT"
        {hide} | while read -r point; do mount -t tmpfs -o ro none "$point"; done
        exec "$@"
    """
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", SAYS, str(tmp_path / "state")]
    env = {**os.environ, "PART": str(part), "POINT": str(point)}
    try:
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=40, check=False)
    finally:
        part.rmdir()
    assert done.returncode == 0, done.stderr
    note, room, used = done.stdout.splitlines()
    assert (note, used) == ("cgroup2", "cgroup2")
    assert room.startswith(f"{point}/runner-")


HIDDEN = """
grep ' - cgroup2 ' /proc/self/mountinfo | cut -d' ' -f5 | while read -r point; do mount -t tmpfs -o ro none "$point"; done
exec "$@"
"""

WITHOUT = """
import asyncio, sys
from runner.errors import ProcessHostError
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program

async def main():
    try:
        await SupervisorHost.start_private(sys.argv[1], containment="cgroup2")
    except ProcessHostError as error:
        print(error.message)
    async with await SupervisorHost.start_private(sys.argv[1]) as host:
        print(host.containment)
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", "echo ready; exec sleep 1000"]), sink)
        await sink.until(b"ready")
        await host.stop("k", 0.5)
        print((await process.wait()).kill["containment"])

asyncio.run(main())
"""


def test_without_a_hierarchy_that_can_be_written_to(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("mount")
    argv = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", sys.executable, "-c", WITHOUT, str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    refused, note, used = done.stdout.splitlines()
    assert refused.startswith("there can be no containment by control groups: ")
    assert note.startswith("marker: ")
    assert used == "marker"


def test_without_being_asked_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with await SupervisorHost.start_private(tmp_path, containment="marker") as host:
            assert host.containment == "marker: it was asked for"
            assert hostile.rooms(host.incarnation) == []

    asyncio.run(main())


def test_nothing_counts_as_contained_where_orphans_are_not_adopted(
    tmp_path: Path, require: Callable[[str], None]
) -> None:
    """One could be out of its control group unseen."""
    require("seccomp")

    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(tmp_path) as host:
            assert host.containment == "cgroup2", "what else is wanted is looked at when it has said so"
            sink = Sink()
            process = await host.spawn("k", program(hostile.command("has its own session and no environment")), sink)
            await sink.until(b"ready ")
            await host.stop("k", 0.1)
            kill = (await process.wait()).kill
            assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
            assert kill is not None
            assert (kill["containment"], "survivors" in kill) == ("marker", False)
            assert hostile.rooms(host.incarnation) == []

    apart.run(lambda: asyncio.run(main()), apart.without("subreaper", error=errno.EPERM))


def test_a_shared_supervisor_without_it_is_refused_in_words(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("mount")
    script = WITHOUT.replace("start_private", "connect").partition("    async with")[0] + "asyncio.run(main())"
    argv = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("there can be no containment by control groups: ")
