"""Containment by control groups: what it holds that marks do not, what it claims, and where it cannot be had."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runner.process import remains
from runner.process.host import SupervisorHost
from runner.process.supervisor import cgroups, processes
from tests import hostile
from tests.chaos.judge import end_supervisor
from tests.contract.process_labs import Sink, program

ROOT = Path(__file__).parents[2]
Scenario = Callable[[SupervisorHost], Awaitable[None]]

# The supervisor's table, driven from here, so that it is known who was put into a control group when.
DIRECT = """
import json, os, select, sys, time
from runner.process.supervisor import cgroups, subreaper
from runner.process.supervisor.children import Program
from runner.process.supervisor.output import Outputs
from runner.process.supervisor.table import Table
from tests import hostile

assert subreaper.become()
incarnation = os.urandom(16).hex()
room = cgroups.Room.open(incarnation)
outputs = Outputs(select.epoll(), lambda message, descriptors: None, os.close)
table = Table(incarnation, lambda record: None, outputs, room=room)

def start(key, argv):
    return table.spawn(key, Program(argv, dict(os.environ), "/"), None, 1.0)

def start_ready(key, code):
    record = start(key, hostile.python(code))
    said = b""
    while b"\\n" not in said:
        select.select([record.pipes[0].descriptor], [], [])
        said += os.read(record.pipes[0].descriptor, 100)
    return record, hostile.pid_said(said)

def escape(key):
    record, pid = start_ready(key, hostile.ESCAPES)
    while open(f"/proc/{pid}/environ", "rb").read():
        time.sleep(0.002)
    return record, pid

def turn():
    table.reap()
    table.run_due()
    time.sleep(0.002)

def settled(*records):
    while table.next_due() is not None:  # nobody has a deadline, so that it is this that is still to be done
        turn()
    return [record.contained for record in records]

def end(*records):
    for record in records:
        table.stop(record, 0.5)
    while not all(record.exit for record in records):
        turn()
    return [record.exit["kill"] for record in records]

def tell(**facts):
    table.stop_all(0.0)
    while table.running:
        turn()
    table.close()
    print(json.dumps({**facts, "rooms": hostile.rooms(incarnation)}))
"""


@pytest.fixture(autouse=True)
def _needs_control_groups(request: pytest.FixtureRequest, require: Callable[[str], None]) -> None:
    if "without" not in request.node.name:
        require("cgroup2")


def direct(script: str) -> dict[str, Any]:
    """What the script tells. It leaves no control group."""
    done = subprocess.run(
        [sys.executable, "-c", DIRECT + script], cwd=ROOT, capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("rooms") == []
    return dict(told)


def play(folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(30),
            await SupervisorHost.start_private(folder, containment="cgroup2") as host,
        ):
            await scenario(host)
        assert hostile.rooms(host.incarnation) == []

    asyncio.run(main())


async def until_held(host: SupervisorHost, pid: int) -> str:
    """The control group that a process is put into."""
    while host.incarnation not in (name := cgroups.name_of(pid) or ""):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.002)
    return name


# What carries no mark at all.


def test_what_carries_no_mark_does_not_escape_while_others_run(tmp_path: Path) -> None:
    """It does what it does once it is in its control group."""

    async def scenario(host: SupervisorHost) -> None:
        other = await host.spawn("other", program(["sleep", "1000"]), Sink())
        sink = Sink()
        code = f"import time\ntime.sleep(0.2)\n{hostile.ESCAPES}"
        process = await host.spawn("k", program(hostile.python(code)), sink)
        await sink.until(b"ready ")
        pid = hostile.pid_said(sink.data["stdout"])
        await hostile.until_bare(pid)
        assert await until_held(host, pid) == await until_held(host, process.started.pid)
        assert await until_held(host, other.started.pid) != await until_held(host, pid)
        await host.stop("k", 0.2)
        exit = await process.wait()
        assert not hostile.is_alive(pid)
        assert exit.kill is not None
        assert (exit.kill["containment"], exit.kill["survivors"], exit.kill["leftovers"]) == ("cgroup2", 0, 1)
        assert hostile.is_alive(other.started.pid)

    play(tmp_path, scenario)


def test_what_carries_no_mark_belongs_to_the_one_that_is_not_contained_yet() -> None:
    """It does what it does before it is put into its control group."""
    told = direct("""
other = start("other", ["sleep", "1000"])
first = settled(other)
record, pid = escape("k")
then = settled(record)
tell(first=first, then=then, kill=end(record), alive=hostile.is_alive(pid), other=hostile.is_alive(other.pid))
""")
    assert (told["first"], told["then"], told["alive"], told["other"]) == ([True], [True], False, True)
    assert [(kill["containment"], kill["survivors"]) for kill in told["kill"]] == [("cgroup2", 0)]


def test_nothing_is_claimed_where_what_carries_no_mark_may_be_of_either_of_two() -> None:
    told = direct("""
other = start("other", ["sleep", "1000"])
record, pid = escape("k")
contained = settled(other, record)
later = start("later", ["sleep", "1000"])
tell(contained=contained, later=settled(later), kill=end(record, other), alive=hostile.is_alive(pid))
""")
    assert told["contained"] == [False, False]
    assert told["later"] == [True], "what was there before it began is not its own"
    assert [(kill["containment"], "survivors" in kill) for kill in told["kill"]] == [("marker", False)] * 2


@pytest.mark.parametrize("kind", hostile.FORGES)
def test_a_mark_that_was_made_up_is_as_good_as_none(kind: str) -> None:
    told = direct(f"""
other = start("other", ["sleep", "1000"])
first = settled(other)
record, pid = start_ready("k", hostile.FORGES[{kind!r}])
then = settled(record)
tell(first=first, then=then, kill=end(record), alive=hostile.is_alive(pid), other=hostile.is_alive(other.pid))
""")
    assert (told["first"], told["then"], told["alive"], told["other"]) == ([True], [True], False, True)
    assert [(kill["containment"], kill["survivors"], kill["leftovers"]) for kill in told["kill"]] == [("cgroup2", 0, 1)]


def test_nothing_is_claimed_where_a_mark_may_have_been_copied() -> None:
    """It is ended with the attempt whose mark it is."""
    told = direct("""
other = start("other", ["sleep", "1000"])
first = settled(other)
text = hostile.FORGES["text"].replace("os.environ['RUNNER_TASK_ID'].partition('/')[0] + '/nobody'", repr(other.mark.text))
record, pid = start_ready("k", text)
then = settled(record)
kill, lives = end(record), hostile.is_alive(pid)
tell(first=first, then=then, kill=kill + end(other), lives=lives, alive=hostile.is_alive(pid))
""")
    assert (told["first"], told["then"], told["lives"], told["alive"]) == ([True], [False], True, False)
    assert [(kill["containment"], "survivors" in kill) for kill in told["kill"]] == [("marker", False)] * 2


# What it costs, and who pays.


def test_a_short_program_is_never_put_into_a_control_group() -> None:
    told = direct("""
record = start("k", ["true"])
while record.exit is None:
    table.reap()
    table.run_due()
tell(folder=record.folder is not None, kill=record.exit["kill"])
""")
    assert told == {"folder": False, "kill": None}


def test_all_of_a_tree_is_put_into_one(tmp_path: Path) -> None:
    script = "for i in 1 2 3; do (sleep 1000 & setsid sleep 1000 & sleep 1000 & wait) & done; (sleep 1000 &); echo ready; wait"

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", script]), sink)
        await sink.until(b"ready")
        name = await until_held(host, process.started.pid)
        [room] = cgroups.former(host.incarnation)
        while len(room.pids()) < 14:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.002)
        assert {cgroups.name_of(pid) for pid in room.pids()} == {name}
        await host.signal("k", "pause")
        await host.signal("k", "start")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert exit.kill is not None
        assert (exit.kill["survivors"], room.pids()) == (0, [])

    play(tmp_path, scenario)


# A normal end.


def test_what_carries_no_mark_is_ended_at_a_normal_end_too(tmp_path: Path) -> None:
    code = f"import time\ntime.sleep(0.2)\n{hostile.ESCAPES}".replace("stay()", "time.sleep(0.2)")

    async def scenario(host: SupervisorHost) -> None:
        await host.spawn("other", program(["sleep", "1000"]), Sink())
        sink = Sink()
        exit = await (await host.spawn("k", program(hostile.python(code)), sink)).wait()
        assert (exit.exit_code, exit.cause) == (0, "exited")
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert (exit.kill["containment"], exit.kill["survivors"], exit.kill["leftovers"]) == ("cgroup2", 0, 1)

    play(tmp_path, scenario)


def test_a_normal_end_without_leftovers_has_no_report(tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        process = await host.spawn("k", program(["sh", "-c", "sleep 0.2 & wait; true"]), Sink())
        await until_held(host, process.started.pid)
        assert (await process.wait()).kill is None

    play(tmp_path, scenario)


# Whoever has the right to move processes.


def test_nothing_is_claimed_of_what_was_moved_out(tmp_path: Path) -> None:
    own = cgroups.path_of(cgroups.name_of("self") or "")
    code = f"""
if os.fork() == 0:
    os.setsid()
    time.sleep(0.2)
    open({f"{own}/cgroup.procs"!r}, "w").write(str(os.getpid()))
    say(f"ready {{os.getpid()}}")
stay()
"""

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(hostile.python(code)), sink)
        await until_held(host, process.started.pid)
        await sink.until(b"ready ")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert exit.kill["containment"] == "marker"
        assert "survivors" not in exit.kill

    play(tmp_path, scenario)


def test_control_groups_that_a_task_makes_go_with_its_own(tmp_path: Path) -> None:
    code = """
time.sleep(0.2)
own = [line[3:].strip() for line in open("/proc/self/cgroup") if line.startswith("0::")][0]
inner = sys.argv[1] + own + "/a/b"
os.makedirs(inner)
if os.fork() == 0:
    os.setsid()
    open(inner + "/cgroup.procs", "w").write(str(os.getpid()))
    say(f"ready {os.getpid()}")
stay()
"""
    mount = cgroups.path_of("/")
    if mount is None:
        pytest.skip("the whole hierarchy is not seen here")

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program([*hostile.python(code), mount]), sink)
        await sink.until(b"ready ")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert (exit.kill["containment"], exit.kill["survivors"]) == ("cgroup2", 0)

    play(tmp_path, scenario)


# A supervisor that is dead.


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


def test_a_room_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        [room] = cgroups.former(host.incarnation)
        os.rmdir(room.path)
        process = await host.spawn("k", program(["sleep", "1000"]), Sink())
        await until_held(host, process.started.pid)

    play(tmp_path, scenario)


# Where it is to be found.

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


# Where it cannot be had.

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


def test_a_shared_supervisor_without_it_is_refused_in_words(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("mount")
    script = WITHOUT.replace("start_private", "connect").partition("    async with")[0] + "asyncio.run(main())"
    argv = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("there can be no containment by control groups: ")
